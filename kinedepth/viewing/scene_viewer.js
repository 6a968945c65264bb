"use strict";
/*
 * The viewer inside the 3D page. It reads the JSON that scene_data.py writes, hands positions
 * to the graphics card once, and from then on draws any moment by pointing into that buffer.
 *
 * Space: the camera of the current frame, x right, y down, z forward. A moment ("head") is a
 * frame number with a fraction; between two frames, points move in a straight line.
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

  /** Position of an entry (frame * tracks + track) without exaggeration. */
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
    colour: "ratio",
    through: false, // the camera's own view
    throughness: 0, // 0 around .. 1 through the camera, in between while moving there
    hovered: -1,
    holdUntil: 0, // pause at the end before the clip starts over, in milliseconds
  };
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;

  // Where the viewer stands when looking around: angles, the point looked at, and how far away.
  const orbit = { azimuth: 0, elevation: 0, target: [0, 0, 1], distance: 1, touched: false };

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

  /** Right, up and forward of a viewer at `eye` who looks at `target`; up is against y. */
  function axesOf(eye, target) {
    const forward = unit(add(target, eye, -1));
    const right = unit(cross(forward, [0, -1, 0]));
    return { right, up: cross(right, forward), forward };
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
  function clipMatrix(eye, target, [centreX, centreY, halfX, halfY]) {
    const { right, up, forward } = axesOf(eye, target);
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
    const eye = mix(orbitEye(), [0, 0, 0], share);
    const target = mix(orbit.target, [0, 0, scene.focus.depth], share);
    const shown = mix(orbitWindow(), cameraWindow(), share);
    const distance = Math.hypot(...add(target, eye, -1));
    return { matrix: clipMatrix(eye, target, shown), share, distance };
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
      if (isVisible(entry)) sample.push(positionAt(entry));
    }
    const camera = [[0, 0, 0], ...frustumCorners(pictureDepth)];
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

  // ---------------------------------------------------------------- shaders

  const PLACE_AND_PAINT = `#version 300 es
  precision highp float;
  precision highp int;
  uniform mat4 camera;
  uniform vec3 boxLow, boxSpan;
  uniform float ratioLargest, exaggeration;
  uniform int colourBy;               // 0 depth change, 1 depth, 2 video
  uniform vec2 scaleRange;
  uniform sampler2D table, videoColour;

  vec3 place(vec3 grid, float ratio) {
    // Along the ray, so that the point stays on its pixel.
    return (boxLow + grid * boxSpan) * exp((exaggeration - 1.0) * ratio * ratioLargest);
  }
  vec3 paint(vec3 grid, float ratio, int track) {
    if (colourBy == 2) {
      vec3 seenColour = texelFetch(videoColour, ivec2(track & 255, track >> 8), 0).rgb;
      return 0.14 + 0.86 * seenColour; // black must show on a dark stage
    }
    float value = colourBy == 0 ? ratio * ratioLargest : log(boxLow.z + grid.z * boxSpan.z);
    float share = clamp((value - scaleRange.x) / (scaleRange.y - scaleRange.x), 0.0, 1.0);
    return texture(table, vec2((0.5 + 256.0 * share) / 257.0, 0.5)).rgb;
  }
  layout(location = 0) in vec4 here;
  layout(location = 1) in vec4 next;
  layout(location = 2) in float ratioHere;
  layout(location = 3) in float ratioNext;
  `;

  const POINT_VERTEX = PLACE_AND_PAINT + `
  uniform float between, pointSize, viewDistance;
  uniform int hovered;
  uniform bool showHidden;
  out vec3 colour;
  out float seen, pixels;
  void main() {
    vec3 spot = mix(place(here.xyz, ratioHere), place(next.xyz, ratioNext), between);
    gl_Position = camera * vec4(spot, 1.0);
    seen = between < 0.5 ? here.w : next.w;
    float perspective = sqrt(viewDistance / max(gl_Position.w, 1e-6));
    pixels = pointSize * clamp(perspective, 0.55, 2.0);
    if (gl_VertexID == hovered) pixels *= 1.7;
    if (seen < 0.5) pixels *= 0.85;
    if (seen < 0.5 && !showHidden) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
    gl_PointSize = pixels + 1.0;
    colour = mix(paint(here.xyz, ratioHere, gl_VertexID),
                 paint(next.xyz, ratioNext, gl_VertexID), between);
  }`;

  const POINT_FRAGMENT = `#version 300 es
  precision highp float;
  in vec3 colour;
  in float seen, pixels;
  out vec4 result;
  void main() {
    float radius = 0.5 * pixels;
    float away = length(gl_PointCoord - 0.5) * (pixels + 1.0);
    float cover = clamp(radius + 0.5 - away, 0.0, 1.0);
    if (cover < 0.05) discard;
    if (seen < 0.5) {
      float ring = cover * clamp(away - radius + 1.8, 0.0, 1.0) * 0.6;
      if (ring < 0.05) discard;
      result = vec4(colour, 1.0) * ring;
    } else {
      float rim = clamp(away - 0.8 * radius + 0.5, 0.0, 1.0);
      result = vec4(colour * (1.0 - 0.72 * rim), 1.0) * cover;
    }
  }`;

  const STRIP_FROM_LINE = `
  uniform vec2 stageSize;
  // The corner of a strip of the given width in pixels around a line between two clip positions.
  vec4 corner(vec4 from, vec4 to, float width, out float end) {
    end = float(gl_VertexID / 2);
    float side = float(gl_VertexID % 2) * 2.0 - 1.0;
    if (from.w < 1e-5 || to.w < 1e-5) return vec4(2.0, 2.0, 2.0, 1.0);
    vec2 along = (to.xy / to.w - from.xy / from.w) * stageSize;
    float length_ = length(along);
    along = length_ > 1e-4 ? along / length_ : vec2(1.0, 0.0);
    vec4 spot = end < 0.5 ? from : to;
    spot.xy += vec2(-along.y, along.x) * side * width / stageSize * spot.w;
    return spot;
  }`;

  // One instance is one track between one frame and the next.
  const TAIL_VERTEX = PLACE_AND_PAINT + STRIP_FROM_LINE + `
  uniform int trackCount, firstFrame;
  uniform float head, tail, lineWidth;
  uniform bool showHidden;
  out vec4 colour;
  void main() {
    int track = gl_InstanceID % trackCount;
    float start = float(firstFrame + gl_InstanceID / trackCount);
    float grown = clamp(head - start, 0.0, 1.0);
    vec3 from = place(here.xyz, ratioHere);
    vec3 to = mix(from, place(next.xyz, ratioNext), grown);
    vec4 fromClip = camera * vec4(from, 1.0), toClip = camera * vec4(to, 1.0);
    float end = float(gl_VertexID / 2);
    float fresh = clamp(1.0 - (head - start - end * grown) / tail, 0.0, 1.0);
    gl_Position = corner(fromClip, toClip, lineWidth * (0.35 + 0.65 * fresh), end);
    float seen = min(here.w, next.w);
    if (seen < 0.5 && !showHidden) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
    float opacity = (seen < 0.5 ? 0.25 : 0.8) * fresh;
    vec3 tint = end < 0.5 ? paint(here.xyz, ratioHere, track) : paint(next.xyz, ratioNext, track);
    colour = vec4(tint, 1.0) * opacity;
  }`;

  const WIRE_VERTEX = `#version 300 es
  precision highp float;
  precision highp int;
  uniform mat4 camera;
  uniform float lineWidth;
  layout(location = 0) in vec4 from;  // fourth number: opacity
  layout(location = 1) in vec4 to;
  out vec4 colour;
  ` + STRIP_FROM_LINE + `
  void main() {
    float end;
    gl_Position = corner(camera * vec4(from.xyz, 1.0), camera * vec4(to.xyz, 1.0), lineWidth, end);
    colour = vec4(0.78, 0.82, 0.88, 1.0) * mix(from.w, to.w, end);
  }`;

  const FLAT_FRAGMENT = `#version 300 es
  precision highp float;
  in vec4 colour;
  out vec4 result;
  void main() { result = colour; }`;

  const PICTURE_VERTEX = `#version 300 es
  precision highp float;
  precision highp int;
  uniform mat4 camera;
  uniform vec3 corners[4];            // top left, top right, bottom left, bottom right
  out vec2 place;
  void main() {
    place = vec2(float(gl_VertexID % 2), float(gl_VertexID / 2));
    gl_Position = camera * vec4(corners[gl_VertexID], 1.0);
  }`;

  const PICTURE_FRAGMENT = `#version 300 es
  precision highp float;
  uniform sampler2D picture;
  uniform float opacity, brightness;
  in vec2 place;
  out vec4 result;
  void main() { result = vec4(texture(picture, place).rgb * brightness, 1.0) * opacity; }`;

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
    let uploadedPicture = null;
    const arrays = { points: gl.createVertexArray(), tails: gl.createVertexArray() };
    arrays.wires = gl.createVertexArray();
    arrays.none = gl.createVertexArray();

    /** Point the four attributes at a frame and at the one after it. */
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
      gl.activeTexture(gl.TEXTURE0);
      gl.bindTexture(gl.TEXTURE_2D, tables[state.colour] || tables.ratio);
      gl.uniform1i(at("table"), 0);
      gl.activeTexture(gl.TEXTURE1);
      gl.bindTexture(gl.TEXTURE_2D, videoTexture);
      gl.uniform1i(at("videoColour"), 1);
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
      gl.uniform3fv(pictureProgram.at("corners"), frustumCorners(pictureDepth).flat());
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
      gl.uniform1f(pointProgram.at("between"), state.head - frame);
      gl.uniform1f(pointProgram.at("pointSize"), state.size * scale);
      gl.uniform1f(pointProgram.at("viewDistance"), view.distance);
      gl.uniform1i(pointProgram.at("hovered"), state.hovered);
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

  /** Lines as [from, opacity, to, opacity]: the camera, its field of view, and the guides. */
  function frustumWires(strength) {
    const lines = [];
    const rectangle = (depth, opacity) => {
      const corners = frustumCorners(depth);
      for (const [a, b] of [[0, 1], [1, 3], [3, 2], [2, 0]]) {
        lines.push([...corners[a], opacity, ...corners[b], opacity]);
      }
    };
    rectangle(pictureDepth, 0.2 + 0.6 * strength);
    for (const guide of scene.guides) rectangle(guideDepth(guide), 0.3 * strength);
    const farthest = Math.max(...scene.guides.map(guideDepth));
    const near = frustumCorners(pictureDepth);
    frustumCorners(farthest).forEach((far, index) => {
      lines.push([0, 0, 0, 0.8 * strength, ...near[index], 0.8 * strength]);
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
      span.hidden = !spot || view.share > 0.3;
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

  function drawInset() {
    const picture = currentPicture();
    const frame = currentFrame();
    const { fx, fy, cx, cy, width, height } = scene.camera;
    const density = Math.min(devicePixelRatio || 1, 2);
    const room = inset.parentElement.clientWidth;
    const shows = [frame, picture && picture.frame, state.colour, state.showHidden, room].join();
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
      if (!isVisible(entry)) continue;
      const [x, y, z] = positionAt(entry);
      brush.beginPath();
      brush.arc(((x / z) * fx + cx) * toPixel, ((y / z) * fy + cy) * toPixel, radius, 0, 7);
      brush.fillStyle = tableColour(entry, track);
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

  function findHovered(view) {
    if (!pointer || dragging.size > 0) return -1;
    let best = -1;
    let nearest = 14;
    for (let track = 0; track < trackCount; track++) {
      const entry = currentFrame() * trackCount + track;
      if (!state.showHidden && !isVisible(entry)) continue;
      const spot = onStage(view.matrix, exaggerated(entry));
      const away = spot ? Math.hypot(spot[0] - pointer[0], spot[1] - pointer[1]) : Infinity;
      if (away < nearest) [best, nearest] = [track, away];
    }
    return best;
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
    const parts = [`track ${found * scene.trackStep}`];
    if (scene.metric) parts.push(`${positionAt(entry)[2].toPrecision(3)} m away`);
    parts.push(`×${Math.exp(logRatioAt(entry)).toFixed(2)} since frame ${scene.queryFrame[found]}`);
    if (!isVisible(entry)) parts.push("hidden");
    label.textContent = parts.join("  ·  ");
    const left = clamp(pointer[0] + 14, 0, stage.clientWidth - label.offsetWidth - 6);
    const top = clamp(pointer[1] - 36, 4, stage.clientHeight - 34);
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
    // Metres are not to be bent; and the ends of the scale shall stay within a factor of 6.
    const most = Math.floor(clamp(Math.log(6) / scales.ratio.high, 1, 8) * 4) / 4;
    element("exaggeration").max = String(most);
    element("exaggeration-control").hidden = scene.metric || most < 1.25;
    connectSlider("exaggeration", 1, (value) => (value === 1 ? "off" : `×${value}`));
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
    } else {
      sentences.push(
        "Each track has its own scale: its depth is 1 at the frame it was queried in. At that " +
          "frame the points therefore lie on one flat sheet. With time the sheet bends, towards " +
          "the camera where things come nearer, away from it where they recede. Depths of " +
          "different tracks cannot be compared.",
      );
    }
    sentences.push(
      "Everything is placed as the camera of the current frame sees it, so a moving camera makes " +
        "still things move.",
    );
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
    element("caption").textContent = scene.metric
      ? "Positions in metres, around the camera of the current frame."
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

    // A link may ask for a moment: #frame=12&view=camera&colour=depth
    const asked = new URLSearchParams(location.hash.slice(1));
    if (scales[asked.get("colour")] || (asked.get("colour") === "video" && videoColour)) {
      setColour(asked.get("colour"));
    }
    if (asked.get("view") === "camera") {
      setThrough(true);
      state.throughness = 1;
    }
    if (asked.has("frame")) setHead(Number(asked.get("frame")) / scene.frameStep || 0);
    else setPlaying(!calm);
  }

  start();
})();
