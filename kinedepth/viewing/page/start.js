// What is shown first.

function start() {
  resetOrbit();
  explain();
  element("hint").textContent = matchMedia("(pointer: coarse)").matches
    ? "Drag to turn, pinch to zoom, tap a dot for its figures."
    : "Drag to turn, scroll to zoom, point at a dot for its figures.";
  offerColours();
  setColour("ratio");
  offerExaggeration();
  offerLimit();
  explainHoles();
  offerWorld();
  chooseSpeed();
  element("tail").max = String(Math.max(1, lastFrame));
  const drawable = Math.floor(250000 / Math.max(trackCount, 1)); // segments a laptop draws well
  const tail = Math.min(clamp(Math.round(0.35 * frameCount), 8, 40), lastFrame, drawable);
  connectSlider("tail", tail, (value) => (value ? plural(value * scene.frameStep, "frame") : "off"));
  connectSlider("size", trackCount > 3000 ? 4 : trackCount > 800 ? 5.5 : 7, (value) => `${value} px`);
  new ResizeObserver(() => {
    if (!orbit.touched) resetOrbit();
    insetShows = "";
    paint(); // at once: until then the browser stretches the old picture
  }).observe(stage);

  // A link may ask for a moment: #frame=12&view=camera&colour=depth&space=world
  const asked = new URLSearchParams(location.hash.slice(1));
  if (scales[asked.get("colour")] || (asked.get("colour") === "video" && videoColour)) {
    setColour(asked.get("colour"));
  }
  if (asked.has("frame")) setHead(Number(asked.get("frame")) / scene.frameStep || 0);
  else setPlaying(!calm);
  setWorld(asked.get("space") === "world");
  if (asked.get("view") === "camera") {
    setThrough(true);
    state.throughness = 1;
  }
}

start();
