// Playing, pausing, and the moment that is shown.

const time = element("time");
time.max = String(lastFrame);

function setPlaying(playing) {
  state.playing = playing && frameCount > 1;
  state.holdUntil = 0;
  if (!state.playing) state.head = currentFrame();
  element("play").setAttribute("aria-label", state.playing ? "Pause" : "Play");
  const shape = state.playing ? "M7 5h3.5v14H7zM13.5 5H17v14h-3.5z" : "M8 5v14l11-7z";
  element("play-shape").setAttribute("d", shape);
  lastTime = performance.now();
  requestDraw();
}

function setHead(frame) {
  setPlaying(false);
  state.head = clamp(frame, 0, lastFrame);
  requestDraw();
}

function showTime() {
  const frame = currentFrame();
  time.value = String(frame);
  const words = `frame ${clipFrame(frame)} of 0 to ${scene.clipFrames - 1}`;
  time.setAttribute("aria-valuetext", words);
  const seconds = clipFrame(frame) / scene.fps;
  const total = document.createElement("span");
  total.textContent = ` / ${scene.clipFrames - 1}  ·  ${seconds.toFixed(2)} s`;
  element("counter").replaceChildren(`frame ${clipFrame(frame)}`, total);
  fillSlider(time);
}

element("play").addEventListener("click", () => setPlaying(!state.playing));
element("play").disabled = frameCount < 2;
time.addEventListener("input", () => setHead(Number(time.value)));

/** The fastest offered speed at which the clip lasts four seconds, so that short ones can be followed. */
function chooseSpeed() {
  const offered = [...element("speed").options].map((option) => Number(option.value));
  const duration = scene.clipFrames / scene.fps;
  const slow = offered.filter((speed) => speed <= 1 && duration / speed >= 4);
  state.speed = slow.length ? Math.max(...slow) : Math.min(...offered);
  element("speed").value = String(state.speed);
}
element("speed").addEventListener("change", (event) => {
  state.speed = Number(event.target.value);
});
