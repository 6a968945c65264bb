// The point under the pointer, and the words about it.

let pointer = null; // [x, y] on the stage in CSS pixels, null away from it
let pointerReach = 14; // pixels within which a point counts as pointed at; fingers need more

function findHovered(view) {
  if (!pointer || dragging.size > 0) return -1;
  let best = -1;
  let nearest = pointerReach;
  for (let track = 0; track < trackCount; track++) {
    const entry = currentFrame() * trackCount + track;
    if (!isShown(entry)) continue;
    const spot = onStage(view.matrix, placed(entry, exaggerated(entry)));
    const away = spot ? Math.hypot(spot[0] - pointer[0], spot[1] - pointer[1]) : Infinity;
    if (away < nearest) [best, nearest] = [track, away];
  }
  return best;
}

/** The interval that holds two in three true values, where it is wider than the figures tell. */
function likely(middle, std, write) {
  const [low, high] = [write(middle * Math.exp(-std)), write(middle * Math.exp(std))];
  return deviations && low !== high ? ` (likely ${low} to ${high})` : "";
}

function labelHovered(view) {
  const label = element("hover-label");
  const found = findHovered(view);
  if (found !== state.hovered) {
    state.hovered = found;
    requestDraw();
  }
  label.hidden = found < 0;
  if (found < 0) return;
  const entry = currentFrame() * trackCount + found;
  const about = [`track ${found * scene.trackStep}`];
  if (scene.commonScale) {
    const depth = positionAt(entry)[2];
    const words = scene.metric ? `${depth.toPrecision(3)} m away` : `depth ${depth.toPrecision(3)}`;
    const known = guessedTracks.has(found)
      ? " (guessed from its neighbours)"
      : likely(depth, depthStdAt(entry), (value) => value.toPrecision(3));
    about.push(words + known);
  }
  const ratio = Math.exp(logRatioAt(entry));
  const change = likely(ratio, stdAt(entry), (value) => value.toFixed(2));
  const parts = [`×${ratio.toFixed(2)}${change} since frame ${scene.queryFrame[found]}`];
  if (!isVisible(entry)) parts.push("hidden");
  label.textContent = scene.commonScale
    ? about.join("  ·  ") + "\n" + parts.join("  ·  ")
    : [...about, ...parts].join("  ·  ");
  const left = clamp(pointer[0] + 14, 0, stage.clientWidth - label.offsetWidth - 6);
  const top = clamp(pointer[1] - label.offsetHeight - 8, 4, stage.clientHeight - label.offsetHeight - 6);
  label.style.transform = `translate(${left}px, ${top}px)`;
}
