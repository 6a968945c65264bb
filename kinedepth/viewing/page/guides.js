// Lines and words that say where things lie: the camera, its field of view, depths, its way.

const guideDepth = ({ depth }) => depth ** state.exaggeration;

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
