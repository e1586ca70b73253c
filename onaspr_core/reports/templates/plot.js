const PLOT = { width: 360, height: 230, left: 50, right: 14, top: 14, bottom: 36 };

// A study's curve: one panel per metric, and a box that asks for the paper's points where there are any.
function makePlot(place) {
  const curve = JSON.parse(place.querySelector("script").textContent);
  const panels = element("div", { class: "panels" });
  const draw = (paper) => panels.replaceChildren(...curve.series.map((series) => makePanel(curve, series, paper)));
  if (curve.series.some((series) => series.paper.some((value) => value !== null))) {
    const box = element("input", { type: "checkbox" });
    box.addEventListener("change", () => draw(box.checked));
    place.append(element("label", { class: "with-paper" }, box, " the paper's numbers"));
  }
  place.append(panels);
  draw(false);
}

function makePanel(curve, series, paper) {
  const across = PLOT.width - PLOT.left - PLOT.right;
  const x = (i) => PLOT.left + (across * (i + 0.5)) / curve.points.length;
  const y = verticalScale([series.values, series.ranges.flat(), paper ? series.paper : []].flat());
  const title = `${series.title} ${series.arrow}`.trim();
  const readout = element("p", { class: "readout", "aria-hidden": "true" }, "Point at a value, or use the arrow keys.");
  const points = series.values.map((value, i) => value === null ? null : makePoint(x(i), y.of(value), series.words[i], readout));
  const shown = points.filter((point) => point !== null);
  const svg = drawn("svg", {
    viewBox: `0 0 ${PLOT.width} ${PLOT.height}`, role: "group",
    "aria-label": `${series.title} over ${curve.axis}, ${series.arrow === "↓" ? "lower" : "higher"} is better; arrow keys move between the points`,
  },
  makeAxes(curve, x, y),
  paper ? [makeLine(series.paper, x, y, "paper-line"), series.paper.map((value, i) =>
    value === null ? null : drawn("circle", { class: "paper-dot", cx: x(i), cy: y.of(value), r: 3.5 }))] : [],
  series.ranges.map((range, i) => range === null ? null
    : drawn("path", { class: "bounds", d: `M${x(i) - 4} ${y.of(range[0])}h8m-4 0V${y.of(range[1])}m-4 0h8` })),
  makeLine(series.values, x, y, "line"), shown);
  moveByArrows(shown);
  const theirs = paper && series.paper.some((value) => value !== null);
  const key = theirs ? element("span", { class: "paper-key" }, series.theirs) : null;
  return element("figure", { class: "plot" },
    element("figcaption", {}, element("b", {}, title), ` over ${curve.axis} `, key), svg, readout);
}

// Positions of values and ticks; the values' range with some air, and never of no height.
function verticalScale(numbers) {
  const known = numbers.filter((value) => value !== null);
  let low = Math.min(...known), high = Math.max(...known);
  if (known.length === 0) { low = 0; high = 1; }
  const air = (high - low) * 0.08 || Math.abs(high) * 0.1 || 1;
  low -= air; high += air;
  const rough = (high - low) / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const ticks = [];
  for (let n = Math.ceil(low / step); n * step <= high; n += 1) ticks.push(n * step);
  const tall = PLOT.height - PLOT.top - PLOT.bottom;
  return {
    ticks, digits: Math.max(0, -Math.floor(Math.log10(step))),
    of: (value) => PLOT.top + (tall * (high - value)) / (high - low),
  };
}

function makeAxes(curve, x, y) {
  const right = PLOT.width - PLOT.right, bottom = PLOT.height - PLOT.bottom;
  return [
    y.ticks.map((tick) => [
      drawn("path", { class: "grid", d: `M${PLOT.left} ${y.of(tick)}H${right}` }),
      drawn("text", { class: "tick", x: PLOT.left - 7, y: y.of(tick) + 4, "text-anchor": "end", "aria-hidden": "true" },
        tick.toFixed(y.digits))]),
    curve.points.map((point, i) => drawn("text",
      { class: "tick", x: x(i), y: bottom + 16, "text-anchor": "middle", "aria-hidden": "true" }, point)),
    drawn("text", { class: "tick axis", x: (PLOT.left + right) / 2, y: bottom + 32, "text-anchor": "middle", "aria-hidden": "true" }, curve.axis),
  ];
}

// The line through neighbouring values; where one is missing it is broken.
function makeLine(values, x, y, name) {
  const steps = values.map((value, i) => value === null ? ""
    : `${i > 0 && values[i - 1] !== null ? "L" : "M"}${x(i)} ${y.of(value)}`);
  return drawn("path", { class: name, d: steps.join("") });
}

function makePoint(x, y, words, readout) {
  const point = drawn("g", { class: "point", role: "img", tabindex: -1, "aria-label": words },
    drawn("circle", { class: "reach", cx: x, cy: y, r: 14 }), drawn("circle", { class: "dot", cx: x, cy: y, r: 4.5 }));
  for (const event of ["focus", "pointerenter", "click"]) {
    point.addEventListener(event, () => { readout.textContent = words; });
  }
  return point;
}

// One stop of the tab key per panel; arrows, Home and End move within it.
function moveByArrows(points) {
  points[0]?.setAttribute("tabindex", 0);
  points.forEach((point, i) => point.addEventListener("keydown", (event) => {
    const last = points.length - 1;
    const to = { ArrowRight: Math.min(i + 1, last), ArrowLeft: Math.max(i - 1, 0), Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    point.setAttribute("tabindex", -1);
    points[to].setAttribute("tabindex", 0);
    points[to].focus();
  }));
}
