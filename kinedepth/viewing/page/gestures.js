// Turning, shifting and zooming by mouse, touch and keyboard.

const dragging = new Map(); // pointer id -> last [x, y]
let tapped = null; // [x, y] where a finger came down, while it may still be a tap

/** Leave the camera's view for one of the user's own, who needs no hint from here on. */
function takeOver() {
  setThrough(false);
  orbit.touched = true;
  element("hint").hidden = true;
}

function turn(dx, dy) {
  takeOver();
  orbit.azimuth -= dx;
  orbit.elevation = clamp(orbit.elevation + dy, -1.5, 1.5);
  requestDraw();
}

/** Shift by a share of the stage's height. */
function shift(dx, dy) {
  takeOver();
  const { right, up } = axesOf(orbitEye(), orbit.target);
  const reach = 2 * orbit.distance * orbitWindow()[3];
  orbit.target = add(add(orbit.target, right, -dx * reach), up, dy * reach);
  requestDraw();
}

function zoom(factor) {
  takeOver();
  const { radius } = scene.focus;
  orbit.distance = clamp(orbit.distance * factor, 0.02 * radius, 15 * radius);
  requestDraw();
}

const onStagePixel = (event) => {
  const box = stage.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};

stage.addEventListener("pointerdown", (event) => {
  stage.setPointerCapture(event.pointerId);
  if (event.pointerType === "touch") {
    pointer = null;
    tapped = dragging.size === 0 ? onStagePixel(event) : null;
  }
  dragging.set(event.pointerId, onStagePixel(event));
  stage.classList.add("dragging");
});
stage.addEventListener("pointermove", (event) => {
  const now = onStagePixel(event);
  if (event.pointerType === "touch") {
    if (tapped && Math.hypot(now[0] - tapped[0], now[1] - tapped[1]) < 8) return;
    [pointer, tapped] = [null, null];
  } else {
    [pointer, pointerReach] = [now, 14];
  }
  const before = dragging.get(event.pointerId);
  if (before) {
    const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    const height = stage.clientHeight;
    if (dragging.size === 2) {
      const other = [...dragging].find(([id]) => id !== event.pointerId)[1];
      const gap = (spot) => Math.hypot(spot[0] - other[0], spot[1] - other[1]) || 1;
      zoom(gap(before) / gap(now));
      shift(dx / 2 / height, dy / 2 / height);
    } else if (event.buttons & 2 || event.shiftKey) {
      shift(dx / height, dy / height);
    } else if (dx || dy) {
      turn(dx * 0.0075, dy * 0.0075);
    }
    dragging.set(event.pointerId, now);
  }
  requestDraw();
});
for (const type of ["pointerup", "pointercancel"]) {
  stage.addEventListener(type, (event) => {
    dragging.delete(event.pointerId);
    if (dragging.size === 0) stage.classList.remove("dragging");
    if (tapped && type === "pointerup") [pointer, pointerReach] = [tapped, 24];
    tapped = null;
    requestDraw();
  });
}
stage.addEventListener("pointerleave", (event) => {
  if (event.pointerType === "touch") return; // a finger leaves with every tap
  pointer = null;
  requestDraw();
});
stage.addEventListener("contextmenu", (event) => event.preventDefault());
stage.addEventListener(
  "wheel",
  (event) => {
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === 1 ? 30 : 1);
    zoom(Math.exp(clamp(pixels, -200, 200) * 0.0015));
  },
  { passive: false },
);
stage.addEventListener("keydown", (event) => {
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const arrow = arrows[event.key];
  if (arrow && event.shiftKey) shift(-arrow[0] * 0.05, -arrow[1] * 0.05);
  else if (arrow) turn(-arrow[0] * 0.08, -arrow[1] * 0.08);
  else if (event.key === "+" || event.key === "=") zoom(0.9);
  else if (event.key === "-") zoom(1 / 0.9);
  else return;
  event.preventDefault();
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const tag = event.target.tagName;
  if (event.key === " ") {
    // Buttons, boxes and lists have their own use for the space bar.
    const own = tag === "BUTTON" || tag === "SELECT" || tag === "SUMMARY";
    if (own || event.target.type === "checkbox") return;
    setPlaying(!state.playing);
  } else if (event.key === ",") setHead(currentFrame() - 1);
  else if (event.key === ".") setHead(currentFrame() + 1);
  else if (event.key === "c" && tag !== "SELECT") setThrough(!state.through);
  else if (event.key === "r" && tag !== "SELECT") resetView();
  else return;
  event.preventDefault();
});
