// When the page is drawn, and how time goes on from one picture to the next.

let drawAsked = false;
let lastTime = 0;

/** Draw soon; `refreshInset` where the small picture changed without the frame changing. */
function requestDraw(refreshInset = false) {
  if (refreshInset) insetShows = "";
  if (drawAsked) return;
  drawAsked = true;
  requestAnimationFrame(draw);
}

function advance(now) {
  // A frame's time stamp may lie before the event that asked for the frame.
  const elapsed = clamp((now - lastTime) / 1000, 0, 0.1);
  lastTime = now;
  const goal = state.through ? 1 : 0;
  const step = calm ? 1 : elapsed / 0.55;
  state.throughness += clamp(goal - state.throughness, -step, step);
  if (state.playing && now >= state.holdUntil) {
    if (state.head >= lastFrame) state.head = 0;
    state.head += (elapsed * state.speed * scene.fps) / scene.frameStep;
    if (state.head >= lastFrame) {
      state.head = lastFrame;
      state.holdUntil = now + 900;
    }
  }
  return state.playing || state.throughness !== goal;
}

function draw(now) {
  drawAsked = false;
  const moving = advance(now);
  paint();
  if (moving) requestDraw();
}

function paint() {
  const density = Math.min(devicePixelRatio || 1, 2);
  const width = Math.max(1, Math.round(stage.clientWidth * density));
  const height = Math.max(1, Math.round(stage.clientHeight * density));
  if (stage.width !== width || stage.height !== height) Object.assign(stage, { width, height });
  const view = currentView();
  if (renderer && !gl.isContextLost()) {
    renderer(view, density);
    placeGuideLabels(view);
    labelHovered(view);
  }
  drawInset();
  showTime();
}
