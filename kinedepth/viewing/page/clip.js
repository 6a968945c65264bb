/*
 * The clip: the JSON that scene_data.py writes, decoded. An entry (frame * tracks + track) is one
 * track in one frame.
 *
 * The files beside this one are joined into a single script, in the order that scene_page.py
 * states, and share its scope: functions may be called from any file, constants from their own
 * file on.
 *
 * Space: the camera of the current frame, x right, y down, z forward; or, where the camera's
 * motion is known and the world is asked for, the camera of the clip's first frame. A moment
 * ("head") is a frame number with a fraction; between two frames, points move in a straight line.
 */

const scene = JSON.parse(document.getElementById("scene").textContent);
const element = (id) => document.getElementById(id);
const stage = element("stage");
const { frames: frameCount, tracks: trackCount } = scene;
const lastFrame = frameCount - 1;
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

function decodeBytes(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** Grid positions with visibility as a fourth number, four to a point: x, y, z, 0 or 65535. */
function decodePositions() {
  const xyz = new Uint16Array(decodeBytes(scene.position.data).buffer);
  const visible = decodeBytes(scene.visible.data);
  const points = new Uint16Array(4 * frameCount * trackCount);
  for (let i = 0; i < frameCount * trackCount; i++) {
    points[4 * i] = xyz[3 * i];
    points[4 * i + 1] = xyz[3 * i + 1];
    points[4 * i + 2] = xyz[3 * i + 2];
    points[4 * i + 3] = (visible[i >> 3] >> (i & 7)) & 1 ? 65535 : 0;
  }
  return points;
}

const points = decodePositions();
const ratios = new Int16Array(decodeBytes(scene.logRatio.data).buffer);
const deviations = scene.uncertainty ? decodeBytes(scene.uncertainty.data) : null;
const poses = scene.cameraToWorld
  ? new Float32Array(decodeBytes(scene.cameraToWorld.data).buffer)
  : null;
const scaleDeviations = scene.scale
  ? new Uint16Array(decodeBytes(scene.scale.data).buffer)
  : null;
const guessedTracks = new Set(scene.scale ? scene.scale.guessed : []);
const depthUnit = scene.metric ? "metres" : "one common, unknown unit"; // where they can be compared
const boxLow = scene.position.low;
const boxSpan = scene.position.high.map((high, axis) => high - boxLow[axis]);
const scales = Object.fromEntries(
  Object.entries(scene.scales).map(([name, scale]) => [
    name,
    { ...scale, table: decodeBytes(scale.table) },
  ]),
);
const videoColour = scene.videoColour ? decodeBytes(scene.videoColour.data) : null;
const pictures = (scene.pictures || []).map(({ frame, jpeg }) => {
  const image = new Image();
  image.src = "data:image/jpeg;base64," + jpeg;
  image.addEventListener("load", () => requestDraw(true));
  return { frame, image };
});

const logRatioAt = (entry) => (ratios[entry] / 32767) * scene.logRatio.largest;
const isVisible = (entry) => points[4 * entry + 3] > 0;

const stdAt = (entry) => (deviations ? (deviations[entry] / 255) * scene.uncertainty.largest : 0);

/** Of the logarithm of an entry's depth: of its change, and of the scale of its track. */
const depthStdAt = (entry) =>
  scaleDeviations
    ? Math.hypot(stdAt(entry), (scaleDeviations[entry % trackCount] / 65535) * scene.scale.largest)
    : stdAt(entry);

/** Position of an entry (frame * tracks + track) for its camera, without exaggeration. */
function positionAt(entry) {
  return [0, 1, 2].map((axis) => boxLow[axis] + (points[4 * entry + axis] / 65535) * boxSpan[axis]);
}
