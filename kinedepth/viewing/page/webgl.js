// What WebGL 2 needs for every picture: the context, programs, buffers and textures.

const gl = stage.getContext("webgl2", { antialias: true, alpha: true });

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
