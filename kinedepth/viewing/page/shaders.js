/*
 * What the 3D page runs on the graphics card. Points and tails share how a position is placed
 * and painted; see clip.js for the space they live in.
 */
const PLACE_AND_PAINT = `#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;
uniform mat4 camera;
uniform vec3 boxLow, boxSpan;
uniform float ratioLargest, exaggeration;
uniform int colourBy;               // 0 depth change, 1 depth, 2 video
uniform vec2 scaleRange;
uniform sampler2D table, videoColour;
uniform bool inWorld;
uniform int lastFrame;
uniform sampler2D cameraToWorld;    // three texels to a frame, 512 frames to a row
uniform sampler2D presentStd;       // of each track, as far as what is shown depends on it
uniform float mostStd;              // tracks less sure than this are left out

vec4 poseRow(int frame, int row) {
  return texelFetch(cameraToWorld, ivec2(3 * (frame & 511) + row, frame >> 9), 0);
}
float stdOf(int track) {
  return texelFetch(presentStd, ivec2(track & 255, track >> 8), 0).r;
}
vec3 place(vec3 grid, float ratio, int frame) {
  // Along the ray, so that the point stays on its pixel.
  vec3 spot = (boxLow + grid * boxSpan) * exp((exaggeration - 1.0) * ratio * ratioLargest);
  if (!inWorld) return spot;
  vec4 seen = vec4(spot, 1.0);
  int shown = min(frame, lastFrame);
  return vec3(dot(poseRow(shown, 0), seen), dot(poseRow(shown, 1), seen), dot(poseRow(shown, 2), seen));
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
uniform int hovered, frame;
uniform bool showHidden;
uniform vec2 holeRange;             // standard deviations of a full dot and of a ring
out vec3 colour;
out float seen, pixels, hole;
void main() {
  vec3 spot = mix(place(here.xyz, ratioHere, frame), place(next.xyz, ratioNext, frame + 1), between);
  gl_Position = camera * vec4(spot, 1.0);
  seen = between < 0.5 ? here.w : next.w;
  float perspective = sqrt(viewDistance / max(gl_Position.w, 1e-6));
  pixels = pointSize * clamp(perspective, 0.55, 2.0);
  if (gl_VertexID == hovered) pixels *= 1.7;
  if (seen < 0.5) pixels *= 0.85;
  if (seen < 0.5 && !showHidden) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
  float std = stdOf(gl_VertexID);
  if (std > mostStd) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
  hole = clamp(log(max(std, holeRange.x) / holeRange.x) / log(holeRange.y / holeRange.x), 0.0, 1.0);
  gl_PointSize = pixels + 1.0;
  colour = mix(paint(here.xyz, ratioHere, gl_VertexID),
               paint(next.xyz, ratioNext, gl_VertexID), between);
}`;

const POINT_FRAGMENT = `#version 300 es
precision highp float;
in vec3 colour;
in float seen, pixels, hole;
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
    float inner = 0.8 * radius; // without the rim
    float holeRadius = hole * (inner - max(0.8, 0.36 * inner));
    float inside = holeRadius > 0.3 ? clamp(holeRadius + 0.5 - away, 0.0, 1.0) : 0.0;
    vec3 shown = mix(colour * (1.0 - 0.72 * rim), vec3(0.05, 0.055, 0.065), inside);
    result = vec4(shown, 1.0) * cover;
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
  int frame = firstFrame + gl_InstanceID / trackCount;
  float start = float(frame);
  float grown = clamp(head - start, 0.0, 1.0);
  vec3 from = place(here.xyz, ratioHere, frame);
  vec3 to = mix(from, place(next.xyz, ratioNext, frame + 1), grown);
  vec4 fromClip = camera * vec4(from, 1.0), toClip = camera * vec4(to, 1.0);
  float end = float(gl_VertexID / 2);
  float fresh = clamp(1.0 - (head - start - end * grown) / tail, 0.0, 1.0);
  gl_Position = corner(fromClip, toClip, lineWidth * (0.35 + 0.65 * fresh), end);
  float seen = min(here.w, next.w);
  if (seen < 0.5 && !showHidden) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
  if (stdOf(track) > mostStd) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
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
