const player = {
  playing: !matchMedia("(prefers-reduced-motion: reduce)").matches,
  rate: 1,
};

// The videos of a card start together, and start over together when the longest has ended.
class Group {
  // A group that is `still` stays at its first frames.
  constructor(card, still) {
    this.videos = all("video", card);
    this.still = still;
    this.near = false;
    this.visible = false;
    this.timer = 0;
    for (const video of this.videos) {
      video.addEventListener("ended", () => this.restart());
      video.addEventListener("error", () => { video.failed = Boolean(video.error); this.start(); });
      video.addEventListener("canplay", () => this.start());
    }
  }

  get usable() {
    return this.videos.filter((video) => !video.failed && !video.closest("figure").hidden);
  }

  // Only videos near the window have a source: thousands of cards hold no more decoders than a screenful.
  setNear(near) {
    this.near = near;
    if (!near) this.pause();
    for (const video of this.videos) {
      const wanted = near && !video.closest("figure").hidden;
      if (wanted && !video.hasAttribute("src")) {
        video.failed = false;
        video.preload = "auto";
        video.src = video.dataset.src;
      } else if (!wanted && video.hasAttribute("src")) {
        video.removeAttribute("src");
        video.load();
      }
    }
  }

  setVisible(visible) {
    this.visible = visible;
    if (visible) this.start(); else this.pause();
  }

  // After variants were shown or hidden, the whole group starts over.
  refresh() {
    this.pause();
    this.setNear(this.near);
    for (const video of this.usable) video.currentTime = 0;
    this.start();
  }

  pause() {
    clearTimeout(this.timer);
    for (const video of this.videos) video.pause();
  }

  get mayPlay() {
    return this.near && this.visible && player.playing && !this.still && this.usable.length > 0;
  }

  start() {
    const usable = this.usable;
    if (!this.mayPlay || usable.some((video) => video.readyState < 3 || !video.paused)) return;
    if (usable.every((video) => video.ended)) { this.restart(); return; }
    for (const video of usable) {
      video.playbackRate = player.rate;
      if (!video.ended) video.play().catch(() => {});
    }
  }

  restart() {
    if (!this.mayPlay || this.usable.some((video) => !video.ended)) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      for (const video of this.usable) {
        video.currentTime = 0;
        video.playbackRate = player.rate;
        video.play().catch(() => {});
      }
    }, 350);
  }
}
