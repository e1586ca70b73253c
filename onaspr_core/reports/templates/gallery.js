"use strict";
(() => {
  const cards = [...document.querySelectorAll(".card")];
  const byId = (id) => document.getElementById(id);
  const [search, filter, sort, speed, play, count] =
    ["search", "filter", "sort", "speed", "play", "count"].map(byId);
  // A page of images has neither button nor speed, and a clip in it stays at its first frame.
  let playing = play !== null && !matchMedia("(prefers-reduced-motion: reduce)").matches;

  // The videos of a card start together, and start over together when the longest has ended.
  class Group {
    constructor(card) {
      this.videos = [...card.querySelectorAll("video")];
      this.visible = false;
      this.timer = 0;
      for (const video of this.videos) {
        video.addEventListener("ended", () => this.restartWhenAllEnded());
        video.addEventListener("error", () => { video.failed = true; this.startWhenAllReady(); });
        video.addEventListener("canplay", () => this.startWhenAllReady());
      }
    }
    show() {
      this.visible = true;
      for (const video of this.videos) {
        if (!video.src) { video.preload = "auto"; video.src = video.dataset.src; }
      }
      this.startWhenAllReady();
    }
    hide() {
      this.visible = false;
      this.pause();
    }
    pause() {
      clearTimeout(this.timer);
      for (const video of this.videos) video.pause();
    }
    usable() {
      return this.videos.filter((video) => !video.failed);
    }
    startWhenAllReady() {
      const usable = this.usable();
      if (!this.visible || !playing || usable.some((video) => video.readyState < 3)) return;
      if (usable.every((video) => video.paused)) {
        if (usable.every((video) => video.ended)) return this.restartWhenAllEnded();
        for (const video of usable) {
          video.playbackRate = Number(speed.value);
          if (!video.ended) video.play().catch(() => {});
        }
      }
    }
    restartWhenAllEnded() {
      const usable = this.usable();
      if (!this.visible || !playing || usable.some((video) => !video.ended)) return;
      clearTimeout(this.timer);
      this.timer = setTimeout(() => {
        for (const video of usable) {
          video.currentTime = 0;
          video.playbackRate = Number(speed.value);
          video.play().catch(() => {});
        }
      }, 350);
    }
  }

  const groups = new Map(cards.map((card) => [card, new Group(card)]));
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const group = groups.get(entry.target);
      if (entry.isIntersecting) group.show(); else group.hide();
    }
  }, { rootMargin: "150px" });
  for (const card of cards) observer.observe(card);

  const tests = {
    all: () => true,
    gained: (d) => d.gain !== "" && Number(d.gain) > 0,
    lost: (d) => d.gain !== "" && Number(d.gain) < 0,
    fixed: (d) => d.right === "01",
    broken: (d) => d.right === "10",
    rewritten: (d) => d.rewrite === "rewritten",
    fallback: (d) => d.rewrite === "fallback",
    missing: (d) => d.missing === "yes",
  };
  const keys = {
    order: (d) => Number(d.order),
    gain: (d) => (d.gain === "" ? Infinity : -Number(d.gain)),
    similarity: (d) => (d.similarity === "" ? Infinity : -Number(d.similarity)),
  };

  function choose() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const card of cards) {
      const fits = tests[filter.value](card.dataset) && words.every((word) => card.dataset.words.includes(word));
      card.hidden = !fits;
      shown += fits;
    }
    count.textContent = shown === cards.length ? `${shown} prompts` : `${shown} of ${cards.length}`;
    byId("nothing").hidden = shown > 0;
  }

  function order() {
    const key = keys[sort.value];
    const sorted = [...cards].sort((a, b) => key(a.dataset) - key(b.dataset) || a.dataset.order - b.dataset.order);
    byId("cards").append(...sorted);
  }

  function setPlaying(value) {
    playing = value;
    play.textContent = playing ? "Pause" : "Play";
    play.setAttribute("aria-pressed", String(playing));
    for (const group of groups.values()) {
      if (playing) group.startWhenAllReady(); else group.pause();
    }
  }

  search.addEventListener("input", choose);
  filter.addEventListener("change", choose);
  sort.addEventListener("change", order);
  speed?.addEventListener("change", () => {
    for (const video of document.querySelectorAll("video")) video.playbackRate = Number(speed.value);
  });
  play?.addEventListener("click", () => setPlaying(!playing));
  byId("reset").addEventListener("click", () => { search.value = ""; filter.value = "all"; choose(); });
  document.querySelector(".toolbar").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== search) { event.preventDefault(); search.focus(); }
  });
  if (play) setPlaying(playing);
  choose();
})();
