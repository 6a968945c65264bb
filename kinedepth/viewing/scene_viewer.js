"use strict";
/*
 * The viewer inside the 3D page. It reads the JSON that scene_data.py writes, hands positions
 * to the graphics card once, and from then on draws any moment by pointing into that buffer.
 *
 * Space: the camera of the current frame, x right, y down, z forward; or, where the camera's
 * motion is known and the world is asked for, the camera of the clip's first frame. A moment
 * ("head") is a frame number with a fraction; between two frames, points move in a straight line.
 */
(() => {
  const scene = JSON.parse(document.getElementById("scene").textContent);
  const element = (id) => document.getElementById(id);
  const stage = element("stage");
  const { frames: frameCount, tracks: trackCount } = scene;
  const lastFrame = frameCount - 1;
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  // ---------------------------------------------------------------- data

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
  /** Of what the colour shows. */
  const shownStdAt = (entry) =>
    deviations && state.colour !== "ratio" ? depthStdAt(entry) : stdAt(entry);

  /** Position of an entry (frame * tracks + track) for its camera, without exaggeration. */
  function positionAt(entry) {
    return [0, 1, 2].map((axis) => boxLow[axis] + (points[4 * entry + axis] / 65535) * boxSpan[axis]);
  }

  // ---------------------------------------------------------------- what is shown

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

  // Where the viewer stands when looking around: angles, the point looked at, and how far away.
  const orbit = { azimuth: 0, elevation: 0, target: [0, 0, 1], distance: 1, touched: false };

  const isShown = (entry) =>
    (state.showHidden || isVisible(entry)) && shownStdAt(entry) <= state.mostStd;
  const currentFrame = () => clamp(Math.round(state.head), 0, lastFrame);
  const clipFrame = (frame) => frame * scene.frameStep;

  function currentPicture() {
    let latest = null;
    for (const picture of pictures) if (picture.frame <= currentFrame()) latest = picture;
    return latest && latest.image.complete && latest.image.naturalWidth ? latest : null;
  }

  // ---------------------------------------------------------------- vectors and cameras

  const add = (a, b, scale = 1) => a.map((value, axis) => value + scale * b[axis]);
  const mix = (a, b, share) => a.map((value, axis) => value + share * (b[axis] - value));
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const cross = (a, b) => [
    a[1] * b[2] - a[2] * b[1],
    a[2] * b[0] - a[0] * b[2],
    a[0] * b[1] - a[1] * b[0],
  ];
  const unit = (a) => a.map((value) => value / (Math.hypot(...a) || 1));

  /** Right, up and forward of a viewer at `eye` who looks at `target`, `upward` on top. */
  function axesOf(eye, target, upward = [0, -1, 0]) {
    const forward = unit(add(target, eye, -1));
    const right = unit(cross(forward, upward));
    return { right, up: cross(right, forward), forward };
  }

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
    const [above, below, beside] = [58, 42, 16]; // pixels to keep free
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

  // ---------------------------------------------------------------- drawing in 3D

  const gl = stage.getContext("webgl2", { antialias: true, alpha: true });
  const renderer = gl ? createRendererOrFail() : null;
  if (!gl) {
    fail(
      "This view needs WebGL 2, which this browser does not have or has switched off. " +
        "Another browser, or switching on hardware acceleration, will show it.",
    );
  }
  stage.addEventListener("webglcontextlost", (event) => {
    event.preventDefault();
    fail("The graphics card took the picture away. Reload the page to see it again.");
  });

  function fail(sentence) {
    element("no-webgl").textContent = sentence;
    element("no-webgl").hidden = false;
  }

  function createRendererOrFail() {
    try {
      return createRenderer();
    } catch (error) {
      console.error(error);
      fail("This browser's graphics driver could not set up the view. Another browser may show it.");
      return null;
    }
  }

  function createRenderer() {
    function compile(vertexSource, fragmentSource) {
      const program = gl.createProgram();
      for (const [type, source] of [
        [gl.VERTEX_SHADER, vertexSource],
        [gl.FRAGMENT_SHADER, fragmentSource],
      ]) {
        const shader = gl.createShader(type);
        gl.shaderSource(shader, source);
        gl.compileShader(shader);
        gl.attachShader(program, shader);
      }
      gl.linkProgram(program);
      if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
        const shaders = gl.getAttachedShaders(program);
        const log = shaders.map((shader) => gl.getShaderInfoLog(shader)).join("\n");
        throw new Error(gl.getProgramInfoLog(program) + "\n" + log);
      }
      const locations = {};
      for (let i = 0; i < gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS); i++) {
        const name = gl.getActiveUniform(program, i).name;
        locations[name.replace("[0]", "")] = gl.getUniformLocation(program, name);
      }
      return { program, at: (name) => locations[name] || null };
    }

    function createBuffer(data, usage) {
      const buffer = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      if (data) gl.bufferData(gl.ARRAY_BUFFER, data, usage);
      return buffer;
    }

    function createTexture(filter) {
      const texture = gl.createTexture();
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, filter);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, filter);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
      return texture;
    }

    function createColourTexture(rgb, width, height, filter) {
      const texture = createTexture(filter);
      const { RGB8, RGB, UNSIGNED_BYTE } = gl;
      gl.texImage2D(gl.TEXTURE_2D, 0, RGB8, width, height, 0, RGB, UNSIGNED_BYTE, rgb);
      return texture;
    }

    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    const pointProgram = compile(POINT_VERTEX, POINT_FRAGMENT);
    const tailProgram = compile(TAIL_VERTEX, FLAT_FRAGMENT);
    const wireProgram = compile(WIRE_VERTEX, FLAT_FRAGMENT);
    const pictureProgram = compile(PICTURE_VERTEX, PICTURE_FRAGMENT);
    const pointBuffer = createBuffer(points, gl.STATIC_DRAW);
    const ratioBuffer = createBuffer(ratios, gl.STATIC_DRAW);
    const wireBuffer = createBuffer(null);
    const tables = Object.fromEntries(
      Object.entries(scales).map(([name, { table }]) => [
        name,
        createColourTexture(table, 257, 1, gl.LINEAR),
      ]),
    );
    const videoRows = Math.max(1, Math.ceil(trackCount / 256));
    const videoPadded = new Uint8Array(3 * 256 * videoRows);
    if (videoColour) videoPadded.set(videoColour);
    const videoTexture = createColourTexture(videoPadded, 256, videoRows, gl.NEAREST);
    const pictureTexture = createTexture(gl.LINEAR);
    const poseTexture = createTexture(gl.NEAREST);
    const poseRows = Math.ceil(frameCount / 512);
    const posesPadded = new Float32Array(4 * 3 * 512 * poseRows);
    if (poses) posesPadded.set(poses);
    const { RGBA32F, RGBA, FLOAT } = gl;
    gl.texImage2D(gl.TEXTURE_2D, 0, RGBA32F, 3 * 512, poseRows, 0, RGBA, FLOAT, posesPadded);
    const stdTexture = createTexture(gl.NEAREST);
    const presentStd = new Float32Array(256 * videoRows);
    let uploadedStd = "";
    let uploadedPicture = null;
    const arrays = { points: gl.createVertexArray(), tails: gl.createVertexArray() };
    arrays.wires = gl.createVertexArray();
    arrays.none = gl.createVertexArray();

    /** Point the attributes at a frame and at the one after it. */
    function bindFrames(vertexArray, frame, divisor) {
      gl.bindVertexArray(vertexArray);
      const next = Math.min(frame + 1, lastFrame);
      gl.bindBuffer(gl.ARRAY_BUFFER, pointBuffer);
      [frame, next].forEach((shown, location) => {
        const offset = 8 * shown * trackCount;
        gl.enableVertexAttribArray(location);
        gl.vertexAttribPointer(location, 4, gl.UNSIGNED_SHORT, true, 8, offset);
        gl.vertexAttribDivisor(location, divisor);
      });
      gl.bindBuffer(gl.ARRAY_BUFFER, ratioBuffer);
      [frame, next].forEach((shown, index) => {
        const location = 2 + index;
        gl.enableVertexAttribArray(location);
        gl.vertexAttribPointer(location, 1, gl.SHORT, true, 2, 2 * shown * trackCount);
        gl.vertexAttribDivisor(location, divisor);
      });
    }

    function useTrackProgram({ program, at }, view) {
      gl.useProgram(program);
      gl.uniformMatrix4fv(at("camera"), false, view.matrix);
      gl.uniform3fv(at("boxLow"), boxLow);
      gl.uniform3fv(at("boxSpan"), boxSpan);
      gl.uniform1f(at("ratioLargest"), scene.logRatio.largest);
      gl.uniform1f(at("exaggeration"), state.exaggeration);
      gl.uniform1i(at("colourBy"), ["ratio", "depth", "video"].indexOf(state.colour));
      const scale = scales[state.colour] || scales.ratio;
      gl.uniform2f(at("scaleRange"), scale.low, scale.high);
      gl.uniform1i(at("showHidden"), state.showHidden ? 1 : 0);
      gl.uniform1f(at("mostStd"), Math.min(state.mostStd, 1e6));
      gl.uniform1i(at("inWorld"), state.inWorld ? 1 : 0);
      gl.uniform1i(at("lastFrame"), lastFrame);
      gl.activeTexture(gl.TEXTURE0);
      gl.bindTexture(gl.TEXTURE_2D, tables[state.colour] || tables.ratio);
      gl.uniform1i(at("table"), 0);
      gl.activeTexture(gl.TEXTURE1);
      gl.bindTexture(gl.TEXTURE_2D, videoTexture);
      gl.uniform1i(at("videoColour"), 1);
      gl.activeTexture(gl.TEXTURE2);
      gl.bindTexture(gl.TEXTURE_2D, poseTexture);
      gl.uniform1i(at("cameraToWorld"), 2);
      gl.activeTexture(gl.TEXTURE3);
      gl.bindTexture(gl.TEXTURE_2D, stdTexture);
      uploadStd();
      gl.uniform1i(at("presentStd"), 3);
    }

    /** The standard deviations of the current frame, into the texture that is bound. */
    function uploadStd() {
      const frame = currentFrame();
      if (uploadedStd === `${frame} ${state.colour}`) return;
      uploadedStd = `${frame} ${state.colour}`;
      for (let track = 0; track < trackCount; track++) {
        presentStd[track] = shownStdAt(frame * trackCount + track);
      }
      const { R32F, RED } = gl;
      gl.texImage2D(gl.TEXTURE_2D, 0, R32F, 256, videoRows, 0, RED, gl.FLOAT, presentStd);
    }

    function drawPicture(view) {
      const picture = currentPicture();
      if (!picture) return;
      gl.useProgram(pictureProgram.program);
      gl.activeTexture(gl.TEXTURE0);
      gl.bindTexture(gl.TEXTURE_2D, pictureTexture);
      if (uploadedPicture !== picture) {
        gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB8, gl.RGB, gl.UNSIGNED_BYTE, picture.image);
        uploadedPicture = picture;
      }
      gl.bindVertexArray(arrays.none);
      gl.uniform1i(pictureProgram.at("picture"), 0);
      gl.uniformMatrix4fv(pictureProgram.at("camera"), false, view.matrix);
      const corners = frustumCorners(pictureDepth).map(fromCamera);
      gl.uniform3fv(pictureProgram.at("corners"), corners.flat());
      gl.uniform1f(pictureProgram.at("opacity"), 0.92);
      gl.uniform1f(pictureProgram.at("brightness"), 0.9 - 0.3 * view.share);
      gl.disable(gl.DEPTH_TEST);
      gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
      gl.enable(gl.DEPTH_TEST);
    }

    function drawPoints(view, scale) {
      useTrackProgram(pointProgram, view);
      const frame = Math.floor(state.head);
      bindFrames(arrays.points, frame, 0);
      gl.uniform1i(pointProgram.at("frame"), frame);
      gl.uniform1f(pointProgram.at("between"), state.head - frame);
      gl.uniform1f(pointProgram.at("pointSize"), state.size * scale);
      gl.uniform1f(pointProgram.at("viewDistance"), view.distance);
      gl.uniform1i(pointProgram.at("hovered"), state.hovered);
      const { full, hollow } = scene.uncertainty || { full: 1, hollow: 2 };
      gl.uniform2f(pointProgram.at("holeRange"), full, hollow);
      gl.depthMask(true);
      gl.drawArrays(gl.POINTS, 0, trackCount);
      gl.depthMask(false);
    }

    function drawTails(view, scale) {
      const first = Math.max(0, Math.floor(state.head - state.tail));
      const segments = Math.min(Math.ceil(state.head), lastFrame) - first;
      if (state.tail === 0 || segments <= 0) return;
      useTrackProgram(tailProgram, view);
      bindFrames(arrays.tails, first, 1);
      gl.uniform1i(tailProgram.at("trackCount"), trackCount);
      gl.uniform1i(tailProgram.at("firstFrame"), first);
      gl.uniform1f(tailProgram.at("head"), state.head);
      gl.uniform1f(tailProgram.at("tail"), state.tail);
      gl.uniform1f(tailProgram.at("lineWidth"), clamp(state.size * 0.34, 1, 4) * scale);
      gl.uniform2f(tailProgram.at("stageSize"), stage.width, stage.height);
      gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, segments * trackCount);
    }

    function drawWires(view, scale) {
      const wires = new Float32Array(frustumWires(1 - view.share).flat());
      gl.useProgram(wireProgram.program);
      gl.bindVertexArray(arrays.wires);
      gl.bindBuffer(gl.ARRAY_BUFFER, wireBuffer);
      gl.bufferData(gl.ARRAY_BUFFER, wires, gl.DYNAMIC_DRAW);
      for (const location of [0, 1]) {
        gl.enableVertexAttribArray(location);
        gl.vertexAttribPointer(location, 4, gl.FLOAT, false, 32, 16 * location);
        gl.vertexAttribDivisor(location, 1);
      }
      gl.uniformMatrix4fv(wireProgram.at("camera"), false, view.matrix);
      gl.uniform2f(wireProgram.at("stageSize"), stage.width, stage.height);
      gl.uniform1f(wireProgram.at("lineWidth"), 1.2 * scale);
      gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, wires.length / 8);
    }

    gl.enable(gl.DEPTH_TEST);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA); // colours carry their opacity already
    gl.clearColor(0, 0, 0, 0);
    return (view, scale) => {
      gl.viewport(0, 0, stage.width, stage.height);
      gl.depthMask(true);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      gl.depthMask(false);
      drawPicture(view);
      if (trackCount > 0) {
        drawPoints(view, scale);
        drawTails(view, scale);
      }
      drawWires(view, scale);
    };
  }

  // ---------------------------------------------------------------- the camera in space

  const pictureDepth = Math.max(0.26 * scene.guides[0].depth, 0.13 * scene.focus.radius);

  /** Corners of the field of view at a depth: top left, top right, bottom left, bottom right. */
  function frustumCorners(depth) {
    const { fx, fy, cx, cy, width, height } = scene.camera;
    const corner = (x, y) => [((x - cx) / fx) * depth, ((y - cy) / fy) * depth, depth];
    return [corner(0, 0), corner(width, 0), corner(0, height), corner(width, height)];
  }

  const guideDepth = ({ depth }) => depth ** state.exaggeration;

  const cameraPath = () =>
    Array.from({ length: frameCount }, (_, frame) => moved(poseOf(frame), [0, 0, 0]));

  /** Lines as [from, opacity, to, opacity]: the camera, its field of view, and the guides. */
  function frustumWires(strength) {
    const lines = [];
    const rectangle = (depth, opacity) => {
      const corners = frustumCorners(depth).map(fromCamera);
      for (const [a, b] of [[0, 1], [1, 3], [3, 2], [2, 0]]) {
        lines.push([...corners[a], opacity, ...corners[b], opacity]);
      }
    };
    rectangle(pictureDepth, 0.2 + 0.6 * strength);
    const near = frustumCorners(pictureDepth).map(fromCamera);
    const centre = fromCamera([0, 0, 0]);
    for (const corner of near) lines.push([...centre, 0.8 * strength, ...corner, 0.8 * strength]);
    if (state.inWorld) {
      // Guides are depths for one camera; in the world its way says more, bright where it was.
      const path = cameraPath();
      for (let frame = 0; frame < lastFrame; frame++) {
        const opacity = (frame < state.head ? 0.95 : 0.35) * strength;
        lines.push([...path[frame], opacity, ...path[frame + 1], opacity]);
      }
      return lines;
    }
    for (const guide of scene.guides) rectangle(guideDepth(guide), 0.3 * strength);
    const farthest = Math.max(...scene.guides.map(guideDepth));
    frustumCorners(farthest).forEach((far, index) => {
      lines.push([...near[index], 0.22 * strength, ...far, 0.12 * strength]);
    });
    return lines;
  }

  const guideLabels = scene.guides.map(({ label }) => {
    const span = document.createElement("span");
    span.textContent = label;
    element("guide-labels").append(span);
    return span;
  });

  function placeGuideLabels(view) {
    scene.guides.forEach((guide, index) => {
      const span = guideLabels[index];
      const spot = onStage(view.matrix, frustumCorners(guideDepth(guide))[1]);
      span.hidden = !spot || view.share > 0.3 || state.inWorld;
      if (spot) span.style.transform = `translate(${spot[0]}px, ${spot[1]}px)`;
    });
  }

  // ---------------------------------------------------------------- the small picture

  const inset = element("inset");
  let insetShows = "";

  function tableColour(entry, track) {
    if (state.colour === "video") {
      return `rgb(${videoColour.slice(3 * track, 3 * track + 3).join(" ")})`;
    }
    const scale = scales[state.colour];
    const value = state.colour === "ratio" ? logRatioAt(entry) : Math.log(positionAt(entry)[2]);
    const share = clamp((value - scale.low) / (scale.high - scale.low), 0, 1);
    const row = Math.round(share * 256);
    return `rgb(${scale.table.slice(3 * row, 3 * row + 3).join(" ")})`;
  }

  /** 0 for a full dot, 1 for a ring: see hollowness.py, which the shader follows as well. */
  function holeShareAt(entry) {
    if (!deviations) return 0;
    const { full, hollow } = scene.uncertainty;
    return clamp(Math.log(Math.max(shownStdAt(entry), full) / full) / Math.log(hollow / full), 0, 1);
  }

  function drawInset() {
    const picture = currentPicture();
    const frame = currentFrame();
    const { fx, fy, cx, cy, width, height } = scene.camera;
    const density = Math.min(devicePixelRatio || 1, 2);
    const room = inset.parentElement.clientWidth;
    const shows = [frame, picture && picture.frame, state.colour, state.mostStd, room].join();
    if (shows === insetShows || room === 0) return;
    insetShows = shows;
    const shrink = Math.min(room / width, 320 / height);
    inset.style.width = `${width * shrink}px`;
    inset.width = Math.round(width * shrink * density);
    inset.height = Math.round(height * shrink * density);
    const brush = inset.getContext("2d");
    brush.filter = "brightness(0.8)";
    if (picture) brush.drawImage(picture.image, 0, 0, inset.width, inset.height);
    brush.filter = "none";
    const every = Math.ceil(trackCount / 2000);
    const toPixel = inset.width / width;
    const radius = clamp(0.13 * Math.sqrt((inset.width * inset.height * every) / (trackCount || 1)), 1.5 * density, 2.5 * density);
    for (let track = 0; track < trackCount; track += every) {
      const entry = frame * trackCount + track;
      if (!isVisible(entry) || shownStdAt(entry) > state.mostStd) continue;
      const [x, y, z] = positionAt(entry);
      const spot = [((x / z) * fx + cx) * toPixel, ((y / z) * fy + cy) * toPixel];
      brush.beginPath();
      brush.arc(...spot, radius, 0, 7);
      brush.fillStyle = tableColour(entry, track);
      brush.fill();
      const hole = 0.6 * radius * holeShareAt(entry);
      if (hole < 0.5) continue;
      brush.beginPath();
      brush.arc(...spot, hole, 0, 7);
      brush.fillStyle = "rgb(16 16 18)";
      brush.fill();
    }
  }

  // ---------------------------------------------------------------- one drawn moment

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

  // ---------------------------------------------------------------- point under the pointer

  let pointer = null; // [x, y] on the stage in CSS pixels, null away from it

  function exaggerated(entry) {
    const grown = Math.exp((state.exaggeration - 1) * logRatioAt(entry));
    return positionAt(entry).map((value) => value * grown);
  }

  /** Where a position of an entry's camera lies in what is shown. */
  function placed(entry, position) {
    return state.inWorld ? moved(poseOf(Math.floor(entry / trackCount)), position) : position;
  }

  function findHovered(view) {
    if (!pointer || dragging.size > 0) return -1;
    let best = -1;
    let nearest = 14;
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

  // ---------------------------------------------------------------- turning, shifting, zooming

  const dragging = new Map(); // pointer id -> last [x, y]

  function turn(dx, dy) {
    setThrough(false);
    orbit.touched = true;
    orbit.azimuth -= dx;
    orbit.elevation = clamp(orbit.elevation + dy, -1.5, 1.5);
    requestDraw();
  }

  /** Shift by a share of the stage's height. */
  function shift(dx, dy) {
    setThrough(false);
    orbit.touched = true;
    const { right, up } = axesOf(orbitEye(), orbit.target);
    const reach = 2 * orbit.distance * orbitWindow()[3];
    orbit.target = add(add(orbit.target, right, -dx * reach), up, dy * reach);
    requestDraw();
  }

  function zoom(factor) {
    setThrough(false);
    orbit.touched = true;
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
    dragging.set(event.pointerId, onStagePixel(event));
    stage.classList.add("dragging");
  });
  stage.addEventListener("pointermove", (event) => {
    const now = onStagePixel(event);
    pointer = event.pointerType === "touch" ? null : now;
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
    });
  }
  stage.addEventListener("pointerleave", () => {
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

  // ---------------------------------------------------------------- time

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

  // ---------------------------------------------------------------- settings

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

  function setColour(colour) {
    state.colour = colour;
    for (const button of element("colour-choice").children) {
      button.setAttribute("aria-pressed", String(button.dataset.colour === colour));
    }
    const scale = scales[colour];
    element("legend").hidden = !scale;
    if (scale) {
      const stops = [];
      for (let row = 0; row <= 256; row += 16) {
        stops.push(`rgb(${scale.table.slice(3 * row, 3 * row + 3).join(" ")})`);
      }
      element("legend-bar").style.background = `linear-gradient(to right, ${stops.join(", ")})`;
      const ticks = scale.ticks.map(({ word, figure }) => {
        const tick = document.createElement("span");
        const [words, figures] = [document.createElement("b"), document.createElement("i")];
        words.textContent = word || "\u00a0";
        figures.textContent = figure;
        tick.append(words, figures);
        return tick;
      });
      element("legend-ticks").replaceChildren(...ticks);
    }
    requestDraw(true);
  }

  function offerColours() {
    const offered = { ratio: true, depth: Boolean(scales.depth), video: Boolean(videoColour) };
    for (const button of [...element("colour-choice").children]) {
      const { colour } = button.dataset;
      if (offered[colour]) button.addEventListener("click", () => setColour(colour));
      else button.remove();
    }
    element("colour-choice").hidden = element("colour-choice").children.length < 2;
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

  function explainHoles() {
    element("hollow-legend").hidden = !deviations;
    if (!deviations) return;
    const percent = (std) => `±${Math.round(100 * Math.expm1(std))} %`;
    const { full, hollow } = scene.uncertainty;
    element("full-means").textContent = `sure, ${percent(full)}`;
    element("hollow-means").textContent = `hollow: unsure, ${percent(hollow)}`;
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

  // ---------------------------------------------------------------- words

  const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

  function explain() {
    const seconds = (scene.clipFrames / scene.fps).toFixed(1);
    element("facts").textContent = [
      plural(scene.clipTracks, "track"),
      plural(scene.clipFrames, "frame"),
      `${seconds} s`,
    ].join("  ·  ");

    const sentences = [];
    if (trackCount === 0) sentences.push("This clip has no tracks.");
    if (scene.metric) {
      sentences.push("Positions are in metres.");
    } else if (scene.commonScale) {
      sentences.push(
        "All tracks share one scale, so their depths can be compared; what its unit is in metres " +
          "is not known.",
      );
    } else {
      sentences.push(
        "Each track has its own scale: its depth is 1 at the frame it was queried in. At that " +
          "frame the points therefore lie on one flat sheet. With time the sheet bends, towards " +
          "the camera where things come nearer, away from it where they recede. Depths of " +
          "different tracks cannot be compared.",
      );
    }
    if (guessedTracks.size > 0) {
      sentences.push(
        `${plural(guessedTracks.size, "track")} without a scale of ` +
          `${guessedTracks.size === 1 ? "its" : "their"} own lie at the depth of the neighbours.`,
      );
    }
    sentences.push(
      state.inWorld
        ? "The world is the space of the camera at frame 0. The line is the way of the camera, " +
            "bright as far as it has gone."
        : "Everything is placed as the camera of the current frame sees it, so a moving camera " +
            "makes still things move.",
    );
    if (deviations) {
      sentences.push(
        "Where a point says “likely a to b”, about two in three true values lie between; the hole " +
          "in a point grows with that interval" +
          (scene.scale ? ", of the change of depth or of depth itself, whichever the colour shows." : "."),
      );
    }
    const skipped = [];
    if (scene.frameStep > 1) skipped.push(`every ${ordinal(scene.frameStep)} frame`);
    if (scene.trackStep > 1) skipped.push(`every ${ordinal(scene.trackStep)} track`);
    if (skipped.length) sentences.push(`To keep the page small, it shows ${skipped.join(" and ")}.`);
    if (pictures.length > 1 && pictures[1].frame > 1) {
      const every = pictures[1].frame * scene.frameStep;
      sentences.push(`The picture changes every ${every} frames.`);
    }
    if (scene.movedShare > 0) {
      const share = (100 * scene.movedShare).toPrecision(1);
      sentences.push(`${share} % of the positions lay far outside and are drawn at the edge.`);
    }
    const around = state.inWorld ? "in the world" : "around the camera of the current frame";
    element("caption").textContent = scene.commonScale
      ? `Positions in ${scene.metric ? "metres" : "one common, unknown unit"}, ${around}.`
      : "Every track lies on the sheet at depth 1 in its query frame; the sheet bends as things come nearer or recede.";
    element("explanation").replaceChildren(
      ...sentences.map((sentence) => {
        const paragraph = document.createElement("p");
        paragraph.textContent = sentence;
        return paragraph;
      }),
    );
  }

  function ordinal(number) {
    const teen = number % 100 > 10 && number % 100 < 14;
    return number + (teen ? "th" : { 1: "st", 2: "nd", 3: "rd" }[number % 10] || "th");
  }

  // ---------------------------------------------------------------- start

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

  function start() {
    resetOrbit();
    explain();
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
})();
