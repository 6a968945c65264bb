// Where the viewer stands and what the stage shows from there.

// Where the viewer stands when looking around: angles, the point looked at, and how far away.
const orbit = { azimuth: 0, elevation: 0, target: [0, 0, 1], distance: 1, touched: false };

function orbitEye() {
  const { azimuth, elevation, target, distance } = orbit;
  const direction = [
    Math.sin(azimuth) * Math.cos(elevation),
    -Math.sin(elevation),
    -Math.cos(azimuth) * Math.cos(elevation),
  ];
  return add(target, direction, distance);
}

/** Centre and half size, at distance 1, of what the stage shows when looking around. */
function orbitWindow() {
  const half = 0.46; // tangent of half the view angle along the shorter side
  const shorter = Math.min(stage.clientWidth, stage.clientHeight) || 1;
  return [0, 0, (half * stage.clientWidth) / shorter, (half * stage.clientHeight) / shorter];
}

/** What the stage shows in the camera's own view: its whole frame, between the buttons and the caption. */
function cameraWindow() {
  const { fx, fy, cx, cy, width, height } = scene.camera;
  const [above, below, beside] = [58, 62, 16]; // pixels to keep free
  const roomX = Math.max(stage.clientWidth - 2 * beside, 1);
  const roomY = Math.max(stage.clientHeight - above - below, 1);
  const perPixel = Math.max(width / fx / roomX, height / fy / roomY);
  return [
    (width / 2 - cx) / fx,
    -(height / 2 - cy) / fy + ((above - below) / 2) * perPixel,
    (stage.clientWidth / 2) * perPixel,
    (stage.clientHeight / 2) * perPixel,
  ];
}

/** World-to-clip matrix, column by column, of a viewer and of what its window shows. */
function clipMatrix(eye, target, [centreX, centreY, halfX, halfY], upward) {
  const { right, up, forward } = axesOf(eye, target, upward);
  const near = scene.focus.radius * 0.004;
  const far = scene.focus.radius * 60 + orbit.distance;
  // Of a direction in the viewer's own axes: right, up, backward.
  const column = (x, y, z) => [
    (x + z * centreX) / halfX,
    (y + z * centreY) / halfY,
    (-(far + near) / (far - near)) * z,
    -z,
  ];
  const matrix = new Float32Array(16);
  for (let axis = 0; axis < 3; axis++) {
    matrix.set(column(right[axis], up[axis], -forward[axis]), 4 * axis);
  }
  matrix.set(column(-dot(right, eye), -dot(up, eye), dot(forward, eye)), 12);
  matrix[14] -= (2 * far * near) / (far - near);
  return matrix;
}

/** The present point of view, on its way between around and through the camera. */
function currentView() {
  const share = state.throughness ** 2 * (3 - 2 * state.throughness);
  const centre = fromCamera([0, 0, 0]);
  const eye = mix(orbitEye(), centre, share);
  const target = mix(orbit.target, fromCamera([0, 0, scene.focus.depth]), share);
  const upward = mix([0, -1, 0], add(fromCamera([0, -1, 0]), centre, -1), share);
  const shown = mix(orbitWindow(), cameraWindow(), share);
  const distance = Math.hypot(...add(target, eye, -1));
  return { matrix: clipMatrix(eye, target, shown, upward), share, distance };
}

/** Pixel of the stage (CSS pixels) of a point in space, or null behind the viewer. */
function onStage(matrix, [x, y, z]) {
  const row = (i) => matrix[i] * x + matrix[i + 4] * y + matrix[i + 8] * z + matrix[i + 12];
  const w = row(3);
  if (w <= 0) return null;
  return [(0.5 + row(0) / w / 2) * stage.clientWidth, (0.5 - row(1) / w / 2) * stage.clientHeight];
}

/** Look from behind and above the camera, so that it and the bulk of the points fill the stage. */
function resetOrbit() {
  Object.assign(orbit, {
    azimuth: -0.62,
    elevation: 0.34,
    target: [0, 0, 0.6 * scene.focus.depth],
    distance: 2.2 * scene.focus.radius,
    touched: false,
  });
  const sample = [];
  const every = Math.ceil((frameCount * trackCount) / 4000);
  for (let entry = 0; entry < frameCount * trackCount; entry += every) {
    if (isVisible(entry)) sample.push(placed(entry, positionAt(entry)));
  }
  const camera = [[0, 0, 0], ...frustumCorners(pictureDepth)].map(fromCamera);
  if (state.inWorld) camera.push(...cameraPath());
  const size = [stage.clientWidth || 1, stage.clientHeight || 1];
  // Perspective makes the fit depend on itself; a few rounds settle it.
  for (let round = 0; round < 8; round++) {
    const window = orbitWindow();
    const matrix = clipMatrix(orbitEye(), orbit.target, window);
    const seen = (spots) => spots.map((spot) => onStage(matrix, spot)).filter(Boolean);
    const [bulk, always] = [seen(sample), seen(camera)];
    const spans = [0, 1].map((axis) => {
      const along = bulk.map((spot) => spot[axis]).sort((a, b) => a - b);
      const inner = along.slice(Math.floor(0.03 * along.length), Math.ceil(0.97 * along.length));
      const all = [...inner, ...always.map((spot) => spot[axis])];
      return all.length ? [Math.min(...all), Math.max(...all)] : [0, size[axis]];
    });
    const { right, up } = axesOf(orbitEye(), orbit.target);
    const perPixel = (2 * window[3] * orbit.distance) / size[1];
    const [offX, offY] = spans.map(([low, high], axis) => (low + high - size[axis]) / 2);
    orbit.target = add(add(orbit.target, right, offX * perPixel), up, -offY * perPixel);
    const filled = Math.max(...spans.map(([low, high], axis) => (high - low) / size[axis]));
    orbit.distance *= clamp(filled / 0.84, 0.5, 2);
  }
}

function setThrough(through) {
  if (state.through === through) return;
  state.through = through;
  element("view-orbit").setAttribute("aria-pressed", String(!through));
  element("view-camera").setAttribute("aria-pressed", String(through));
  lastTime = performance.now();
  requestDraw();
}

function resetView() {
  resetOrbit();
  setThrough(false);
  requestDraw();
}

element("view-orbit").addEventListener("click", () => setThrough(false));
element("view-camera").addEventListener("click", () => setThrough(true));
element("reset-view").addEventListener("click", resetView);
