// What the colours and the holes of the points mean, and the choice between them.

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
  element("legend-note").textContent = {
    ratio: "Depth as a multiple of that in the track’s query frame, in which it was started.",
    depth: `Depth in ${depthUnit}.`,
    video: "The video’s own colour where the track was started.",
  }[colour];
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

function explainHoles() {
  element("hollow-legend").hidden = !deviations;
  if (!deviations) return;
  const percent = (std) => `±${Math.round(100 * Math.expm1(std))} %`;
  const { full, hollow } = scene.uncertainty;
  element("full-means").textContent = `sure, ${percent(full)}`;
  element("hollow-means").textContent = `hollow: unsure, ${percent(hollow)}`;
}
