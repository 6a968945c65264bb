// Where things lie in the space that is shown: points, the camera, its field of view and its way.

const poseOf = (frame) => poses.subarray(12 * frame, 12 * frame + 12);
const moved = (pose, spot) =>
  [0, 4, 8].map((row) => dot([pose[row], pose[row + 1], pose[row + 2]], spot) + pose[row + 3]);

/** Where a spot in front of the camera lies at the head. */
function fromCamera(spot) {
  if (!state.inWorld) return spot;
  const frame = Math.floor(state.head);
  const next = Math.min(frame + 1, lastFrame);
  return mix(moved(poseOf(frame), spot), moved(poseOf(next), spot), state.head - frame);
}

function exaggerated(entry) {
  const grown = Math.exp((state.exaggeration - 1) * logRatioAt(entry));
  return positionAt(entry).map((value) => value * grown);
}

/** Where a position of an entry's camera lies in what is shown. */
function placed(entry, position) {
  return state.inWorld ? moved(poseOf(Math.floor(entry / trackCount)), position) : position;
}

const pictureDepth = Math.max(0.26 * scene.guides[0].depth, 0.13 * scene.focus.radius);

/** Corners of the field of view at a depth: top left, top right, bottom left, bottom right. */
function frustumCorners(depth) {
  const { fx, fy, cx, cy, width, height } = scene.camera;
  const corner = (x, y) => [((x - cx) / fx) * depth, ((y - cy) / fy) * depth, depth];
  return [corner(0, 0), corner(width, 0), corner(0, height), corner(width, height)];
}

const cameraPath = () =>
  Array.from({ length: frameCount }, (_, frame) => moved(poseOf(frame), [0, 0, 0]));
