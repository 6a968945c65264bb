// The small picture of what the camera sees, with its points.

const inset = element("inset");
let insetShows = "";

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
