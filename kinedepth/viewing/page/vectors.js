// Vectors as arrays of three numbers.

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
