const threeDigits = (value) => value.toFixed(3);
const signed = (value) => (value < 0 ? "-" : "+") + Math.abs(value).toFixed(3);

// One prompt's card. `gallery` is what `gallery.js` holds, `base` its folder from the page.
function makeCard(gallery, index) {
  const prompt = gallery.prompts[index];
  const id = `prompt-${index + 1}`;
  const link = gallery.base ? `#${encodeURIComponent(gallery.experiment)}/${id}` : `#${id}`;
  return element("article", { class: "card", id, "aria-labelledby": `title-${index + 1}`, tabindex: -1 },
    element("header", {},
      element("h3", { id: `title-${index + 1}` }, prompt.text),
      element("a", { class: "id", href: link }, prompt.id)),
    element("div", { class: "videos" },
      prompt.videos.map((video) => makeFigure(gallery, prompt, video)), makeNeighbour(gallery, prompt)),
    makeRewrite(prompt),
    element("div", { class: "more" }, makeReferences(prompt), makeProvenance(gallery, index)));
}

function makeFigure(gallery, prompt, video) {
  const label = `${video.title}: ${prompt.text}`;
  const file = `${gallery.base}${gallery.noun}s/${video.key}${gallery.suffix}`;
  let shown;
  if (!video.key) {
    shown = element("div", { class: "absent" }, `no ${gallery.noun}`, element("small", {}, video.missing ?? ""));
  } else if (gallery.noun === "image") {
    shown = element("a", { href: file }, element("img", { src: file, loading: "lazy", alt: label }));
  } else {
    shown = makeVideo(file, label);
  }
  return element("figure", { class: video.variant, "data-variant": video.variant }, shown,
    element("figcaption", {},
      element("span", { class: "name" }, video.title), makeClipsim(video), makeChips(video),
      video.key
        ? element("code", { class: "made", title: `python -m onaspr_core.provenance ${video.key}` }, video.key.slice(0, 12))
        : null));
}

function makeVideo(file, label) {
  const video = element("video", { "data-src": file, playsinline: "", preload: "none", "aria-label": label });
  video.muted = true;
  return video;
}

function makeClipsim(video) {
  if (video.clipsim === undefined) return null;
  const made = element("span", { class: "clipsim", title: "CLIPSIM, and its difference to the baseline's" }, threeDigits(video.clipsim));
  if (video.gain !== undefined) {
    const way = video.gain > 0 ? "up" : video.gain < 0 ? "down" : "same";
    made.append(" ", element("i", { class: way }, signed(video.gain)));
  }
  return made;
}

function makeChips(video) {
  if (!video.attributes) return null;
  return element("ul", { class: "chips", "aria-label": "attributes that the classifier found" },
    video.attributes.map(([name, wanted, right]) => element("li",
      { class: right ? "right" : "wrong", title: `${name}: ${wanted} ${right ? "found" : "not found"}` },
      `${right ? "✓" : "✗"} ${wanted}`)));
}

function makeNeighbour(gallery, prompt) {
  const [caption, similarity] = prompt.references[0] ?? [];
  const shown = prompt.clip
    ? makeVideo(`${gallery.base}clips/${prompt.clip}.mp4`, `Neighbour: ${caption ?? ""}`)
    : element("div", { class: "absent" }, "no neighbour");
  const told = caption === undefined ? [] : [
    element("span", { class: "clipsim", title: "cosine similarity of the captions" }, threeDigits(similarity)),
    element("p", { class: "caption" }, caption)];
  return element("figure", { class: "neighbour", "data-variant": "neighbour" }, shown,
    element("figcaption", {}, element("span", { class: "name" }, "Neighbour"), told));
}

function makeRewrite(prompt) {
  if (prompt.rewrite === undefined) return null;
  const refused = prompt.refused !== undefined;
  return element("p", { class: "rewrite" },
    element("span", { class: refused ? "tag refused" : "tag" }, refused ? "original kept" : "rewritten"),
    ` ${refused ? prompt.refused : prompt.rewrite}`);
}

function makeReferences(prompt) {
  const count = prompt.references.length;
  if (count === 0) return null;
  return element("details", {},
    element("summary", {}, `${count} reference${count === 1 ? "" : "s"}`),
    element("ol", { class: "references" }, prompt.references.map(([caption, similarity]) => element("li", {},
      element("span", { class: "similarity" }, threeDigits(similarity)), ` ${caption}`))));
}

// What the videos were made from lies in files of its own, read when somebody asks.
function makeProvenance(gallery, index) {
  const told = element("div", { class: "provenance" }, "Loading …");
  const details = element("details", { class: "made-from" }, element("summary", {}, "Made from"), told);
  details.addEventListener("toggle", async () => {
    if (!details.open || details.dataset.asked) return;
    details.dataset.asked = "yes";
    try {
      const rows = await provenanceChunk(gallery, Math.floor(index / gallery.chunk));
      const shown = gallery.prompts[index].videos.map((video, i) => [video.title, rows[index % gallery.chunk][i]]);
      told.replaceChildren(...shown.map(([title, pairs]) => element("div", {}, element("h4", {}, title),
        element("dl", {}, pairs.map(([name, value]) =>
          element("div", {}, element("dt", {}, name), element("dd", {}, value)))))));
    } catch (problem) {
      delete details.dataset.asked;
      told.textContent = `${problem.message}; materialize gallery.`;
    }
  });
  return details;
}

const chunks = new Map();

async function provenanceChunk(gallery, number) {
  const name = `${gallery.experiment} ${number}`;
  if (!chunks.has(name)) {
    await loadScript(`${gallery.base}provenance-${String(number).padStart(4, "0")}.js`);
  }
  return chunks.get(name);
}
