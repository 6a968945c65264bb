// What is shown at this moment, and what follows from it for single entries.

const state = {
  head: 0,
  playing: false,
  speed: 1,
  tail: 0,
  size: 6,
  exaggeration: 1,
  showHidden: false,
  mostStd: Infinity, // points less sure than this are left out
  inWorld: false,
  colour: "ratio",
  through: false, // the camera's own view
  throughness: 0, // 0 around .. 1 through the camera, in between while moving there
  hovered: -1,
  holdUntil: 0, // pause at the end before the clip starts over, in milliseconds
};
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Of what the colour shows. */
const shownStdAt = (entry) =>
  deviations && state.colour !== "ratio" ? depthStdAt(entry) : stdAt(entry);

const isShown = (entry) =>
  (state.showHidden || isVisible(entry)) && shownStdAt(entry) <= state.mostStd;
const currentFrame = () => clamp(Math.round(state.head), 0, lastFrame);
const clipFrame = (frame) => frame * scene.frameStep;

function currentPicture() {
  let latest = null;
  for (const picture of pictures) if (picture.frame <= currentFrame()) latest = picture;
  return latest && latest.image.complete && latest.image.naturalWidth ? latest : null;
}
