const BATCH = 24;
const [search, filter, sort, speed, play, count, cards, more, chooser] =
  ["search", "filter", "sort", "speed", "play", "count", "cards", "more", "experiment"].map(byId);
const experiments = all(".experiment");
const galleries = new Map();
const groups = new Map();
const hiddenVariants = new Set();
let current = null;
let matching = [];
let built = 0;

// What the data files call.
window.onaspr = {
  gallery(data) { galleries.set(data.experiment, prepared(data)); },
  provenance(experiment, number, rows) { chunks.set(`${experiment} ${number}`, rows); },
};

// A gallery with what filters, sort and search look at, worked out once per prompt.
function prepared(gallery) {
  const allRight = (video) => video?.attributes?.every(([, , right]) => right);
  for (const prompt of gallery.prompts) {
    const captions = prompt.references.map(([caption]) => caption);
    prompt.words = [prompt.id, prompt.text, prompt.rewrite ?? "", ...captions].join(" ").toLowerCase();
    prompt.similarity = prompt.references[0]?.[1];
    prompt.gains = Object.fromEntries(prompt.videos.map((video) => [video.variant, video.gain]));
    prompt.gain = prompt.videos.at(-1)?.gain;
    prompt.before = allRight(prompt.videos[0]);
    prompt.after = allRight(prompt.videos.at(-1));
  }
  return gallery;
}

const tests = {
  all: () => true,
  gained: (prompt) => prompt.gain > 0,
  lost: (prompt) => prompt.gain < 0,
  fixed: (prompt) => prompt.before === false && prompt.after === true,
  broken: (prompt) => prompt.before === true && prompt.after === false,
  rewritten: (prompt) => prompt.rewrite !== undefined && prompt.refused === undefined,
  fallback: (prompt) => prompt.refused !== undefined,
  missing: (prompt) => prompt.videos.some((video) => !video.key),
};

function sortKey(name) {
  if (name === "similarity") return (prompt) => prompt.similarity;
  const variant = name.startsWith("gain ") ? name.slice("gain ".length) : null;
  return variant ? (prompt) => prompt.gains[variant] : null;
}

function choose() {
  if (!current) return;
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const prompts = current.prompts;
  matching = [...prompts.keys()].filter((i) =>
    tests[filter.value](prompts[i]) && words.every((word) => prompts[i].words.includes(word)));
  const key = sortKey(sort.value);
  if (key) {
    const rank = (i) => key(prompts[i]) ?? -Infinity;
    matching.sort((a, b) => (rank(b) > rank(a)) - (rank(b) < rank(a)) || a - b);
  }
  clear();
  build(BATCH);
  const total = prompts.length.toLocaleString("en");
  count.textContent = matching.length === prompts.length ? `${total} prompt${prompts.length === 1 ? "" : "s"}`
    : `${matching.length.toLocaleString("en")} of ${total}`;
  byId("nothing").hidden = matching.length > 0;
}

function clear() {
  near.disconnect();
  visible.disconnect();
  for (const group of groups.values()) group.setNear(false);
  groups.clear();
  cards.replaceChildren();
  built = 0;
}

function build(some) {
  const next = matching.slice(built, built + some).map((i) => makeCard(current, i));
  built += next.length;
  next.forEach(hideVariants);
  cards.append(...next);
  for (const card of next) {
    groups.set(card, new Group(card, current.noun === "image"));
    near.observe(card);
    visible.observe(card);
  }
  more.hidden = built >= matching.length;
  if (!more.hidden) {
    more.textContent = `Show more of ${matching.length.toLocaleString("en")}`;
    // Watched anew, it is told of again where it is still near.
    end.unobserve(more);
    end.observe(more);
  }
}

const observer = (margin, tell) => new IntersectionObserver((entries) => {
  for (const entry of entries) tell(entry.target, entry.isIntersecting);
}, { rootMargin: `${margin}px 0px` });
const near = observer(500, (card, is) => groups.get(card)?.setNear(is));
const visible = observer(0, (card, is) => groups.get(card)?.setVisible(is));
const end = observer(1200, (_, is) => { if (is) build(BATCH); });

function hideVariants(card) {
  for (const figure of all("figure", card)) figure.hidden = hiddenVariants.has(figure.dataset.variant);
}

function showVariants() {
  hiddenVariants.clear();
  const boxes = all("[name=variant]");
  for (const box of boxes) if (!box.checked) hiddenVariants.add(box.value);
  cards.style.setProperty("--columns", Math.max(1, boxes.length - hiddenVariants.size));
  for (const [card, group] of groups) { hideVariants(card); group.refresh(); }
}

function setPlaying(value) {
  player.playing = value;
  play.textContent = value ? "Pause" : "Play";
  play.setAttribute("aria-pressed", String(value));
  for (const group of groups.values()) if (value) group.start(); else group.pause();
}

async function open(name) {
  const place = experiments.find((one) => one.dataset.name === name);
  for (const one of experiments) one.hidden = one !== place;
  if (chooser) chooser.value = name;
  current = null;
  clear();
  more.hidden = true;
  byId("nothing").hidden = true;
  count.textContent = "Loading …";
  try {
    if (!galleries.has(name)) await loadScript(`${place.dataset.base}gallery.js`);
  } catch (problem) {
    if (place.hidden) return;
    count.textContent = `${problem.message}; materialize gallery.`;
    return;
  }
  if (place.hidden) return;
  current = galleries.get(name);
  current.base = place.dataset.base;
  const image = current.noun === "image";
  cards.className = "pixelated" in place.dataset ? "pixelated" : "smooth";
  for (const control of all(".of-videos")) control.hidden = image;
  for (const one of all("[data-image]")) one.textContent = image ? one.dataset.image : one.dataset.video;
  choose();
}

// An address ends with "#prompt-7", or "#experiment/prompt-7" where there are several; the card is built and shown.
async function follow() {
  const [, name, number] = /^#(?:(.+)\/)?prompt-(\d+)$/.exec(location.hash) ?? [];
  const wanted = name && decodeURIComponent(name);
  const known = experiments.some((one) => one.dataset.name === wanted);
  if (known && wanted !== current?.experiment) await open(wanted);
  if (!number || !current) return;
  const index = Number(number) - 1;
  if (!matching.includes(index)) showAll();
  const position = matching.indexOf(index);
  if (position < 0) return;
  if (position >= built) build(position + 1 - built);
  const card = byId(`prompt-${number}`);
  card.scrollIntoView();
  card.focus({ preventScroll: true });
}

function showAll() {
  search.value = "";
  filter.value = "all";
  choose();
}

async function begin() {
  document.documentElement.classList.remove("no-script");
  all(".curve").forEach(makePlot);
  if (experiments.length === 0) return;
  search.addEventListener("input", choose);
  filter.addEventListener("change", choose);
  sort.addEventListener("change", choose);
  more.addEventListener("click", () => build(BATCH));
  byId("reset").addEventListener("click", () => { showAll(); search.focus(); });
  byId("toolbar").addEventListener("submit", (event) => event.preventDefault());
  for (const box of all("[name=variant]")) box.addEventListener("change", showVariants);
  chooser?.addEventListener("change", () => open(chooser.value));
  speed?.addEventListener("change", () => {
    player.rate = Number(speed.value);
    for (const video of all("video")) video.playbackRate = player.rate;
  });
  play?.addEventListener("click", () => setPlaying(!player.playing));
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input:not([type=checkbox]), select, textarea");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      search.focus();
    }
  });
  if (play) setPlaying(player.playing);
  showVariants();
  window.addEventListener("hashchange", follow);
  await open(chooser ? chooser.value : experiments[0].dataset.name);
  await follow();
}

begin();
