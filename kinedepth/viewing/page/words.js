// The explanation of what is shown.

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
    ? `Positions in ${depthUnit}, ${around}.`
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
