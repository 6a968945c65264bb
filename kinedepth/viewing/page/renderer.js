/*
 * One picture of the stage: the clip's data are handed to the graphics card once, and from then on
 * any moment is drawn by pointing into them.
 */

const renderer = gl ? createRendererOrFail() : null;

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
