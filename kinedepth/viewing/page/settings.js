// Sliders, the box for hidden points, and the choice between camera and world.

function fillSlider(slider) {
  const [low, high] = [Number(slider.min), Number(slider.max)];
  const share = high > low ? (Number(slider.value) - low) / (high - low) : 0;
  slider.style.setProperty("--filled", `${100 * share}%`);
}

function connectSlider(id, start, describe) {
  const slider = element(id);
  const update = () => {
    const value = Number(slider.value);
    state[id] = value;
    element(id + "-value").textContent = describe(value);
    fillSlider(slider);
    requestDraw();
  };
  slider.value = String(start);
  slider.addEventListener("input", update);
  update();
}

function offerExaggeration() {
  // A space of one scale is not to be bent; and the ends of the scale shall stay within a factor of 6.
  const most = Math.floor(clamp(Math.log(6) / scales.ratio.high, 1, 8) * 4) / 4;
  element("exaggeration").max = String(most);
  element("exaggeration-control").hidden = scene.commonScale || most < 1.25;
  connectSlider("exaggeration", 1, (value) => (value === 1 ? "off" : `×${value}`));
}

/** Limits on the standard deviation, the strictest last, as percent of the depth. */
function offerLimit() {
  const largestStd = deviations && (scene.scale ? scene.scale.largest : scene.uncertainty.largest);
  const percents = [100, 50, 30, 20, 15, 10, 5].filter(
    (percent) => deviations && Math.log1p(percent / 100) < largestStd,
  );
  element("limit-control").hidden = percents.length === 0;
  element("limit").max = String(percents.length);
  connectSlider("limit", 0, (value) => {
    state.mostStd = value ? Math.log1p(percents[value - 1] / 100) : Infinity;
    return value ? `over ±${percents[value - 1]} %` : "off";
  });
}

function offerWorld() {
  element("space-choice").hidden = !poses;
  element("space-camera").addEventListener("click", () => setWorld(false));
  element("space-world").addEventListener("click", () => setWorld(true));
}

function setWorld(inWorld) {
  if (state.inWorld === inWorld || !poses) return;
  state.inWorld = inWorld;
  element("space-camera").setAttribute("aria-pressed", String(!inWorld));
  element("space-world").setAttribute("aria-pressed", String(inWorld));
  resetOrbit();
  explain();
  requestDraw();
}

element("show-hidden").addEventListener("change", (event) => {
  state.showHidden = event.target.checked;
  requestDraw();
});
