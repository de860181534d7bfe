// The desk's four charts, on uPlot. Owns what a chart shows and how it looks; colours come from
// desk.css, so that an outcome or an item has the same one wherever it is shown.

/* global uPlot, times */
import { byId, fill } from "./words.js";

const ITEM_COLORS = 6;
// The same colours again, in another kind of line. Lengths of line and gap in pixels.
const DASHES = [[], [8, 4], [2, 3]];
const MINUTE_MS = 60000;
// A gap in a line is closed up to so many ms.
const CLOSED_MS = 5000;
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const full = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const ORDER = [
  "ACCEPTED", "SOLD_OUT", "OVER", "EXPIRED", "LIMIT", "NOT_OPEN", "UNKNOWN_ITEM", "REPEATED", "NO_SUCH_ACTIVITY",
  "INVALID",
];

const css = (name) => getComputedStyle(byId("desk")).getPropertyValue(name).trim();
const outcomeColor = (name) => css(`--outcome-${name.toLowerCase().replaceAll("_", "-")}`);

// A gap that is short is joined (undefined), a longer one stays (null).
function joined(values, points) {
  let last = null;
  values.forEach((value, i) => {
    if (value === null) return;
    if (last !== null && points[i].t - points[last].t <= CLOSED_MS) values.fill(undefined, last + 1, i);
    last = i;
  });
  return values;
}

// A value between two gaps makes no line: it is shown as a point.
function alone(plot, series) {
  const values = plot.data[series];
  const gap = (i) => i < 0 || i >= values.length || values[i] === null;
  return [...values.keys()].filter((i) => !gap(i) && values[i] !== undefined && gap(i - 1) && gap(i + 1));
}

class Chart {
  constructor(id, when, { stacked = false } = {}) {
    this.when = when;
    this.box = byId(id);
    this.legend = byId(`${id}-legend`);
    this.stacked = stacked;
    this.plot = null;
    this.lines = "";
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(this.box);
  }

  size() {
    return { width: this.box.clientWidth, height: this.box.clientHeight };
  }

  // Lines: [label, {color, dash, stepped, join}, value of a point].
  draw(points, lines, from, to) {
    const columns = lines.map(([, look, valueOf]) => {
      const values = points.map((point) => valueOf(point) ?? null);
      return look.join ? joined(values, points) : values;
    });
    this.raw = columns;
    const heights = this.stacked ? columns.map((_, k) => points.map((_, i) => columns.slice(0, k + 1).reduce((sum, one) => sum + (one[i] ?? 0), 0))) : columns;
    const key = JSON.stringify(lines.map(([label, look]) => [label, look]));
    this.range = [from / 1000, to / 1000];
    const data = [points.map((point) => point.t / 1000), ...heights];
    if (key !== this.lines || this.plot === null) this.build(lines, data);
    else this.plot.setData(data);
    this.lines = key;
    Object.assign(this.box.dataset, { lines: lines.length, points: points.length });
  }

  forget() {
    this.lines = "";
  }

  build(lines, data) {
    this.plot?.destroy();
    this.legend.replaceChildren();
    const text = css("--desk-text");
    const axis = { stroke: text, font: "12px system-ui, sans-serif", grid: { stroke: css("--desk-line"), width: 1 }, ticks: { show: false } };
    const options = {
      ...this.size(),
      padding: [8, 12, 0, 0],
      scales: {
        x: { time: true, range: () => this.range },
        y: { range: (_, __, max) => [0, Math.max(10, (max || 0) * 1.05)] },
      },
      axes: [
        { ...axis, size: 28, space: 80, values: (_, splits) => splits.map((s) => clock.format(s * 1000)) },
        { ...axis, size: 52, space: 32, values: (_, splits) => splits.map((n) => short.format(n)) },
      ],
      series: [{ label: this.when, value: (_, s) => (s === null ? "–" : times.line(s * 1000)) }, ...lines.map((line, k) => this.series(line, k))],
      bands: this.stacked ? lines.slice(1).map((_, k) => ({ series: [k + 2, k + 1] })) : [],
      cursor: { drag: { x: false, y: false }, points: { size: 6 } },
      legend: {
        markers: { width: 2, dash: (_, i) => (lines[i - 1]?.[1].dash?.length ? (lines[i - 1][1].dash[0] > 4 ? "dashed" : "dotted") : "solid") },
        mount: (_, legend) => this.legend.append(legend),
      },
    };
    this.plot = new uPlot(options, data, this.box);
    const canvas = this.plot.ctx.canvas;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", this.box.dataset.label);
  }

  series([label, look], k) {
    return {
      label,
      stroke: look.color,
      width: look.width || 1.5,
      dash: look.dash,
      fill: this.stacked ? `color-mix(in srgb, ${look.color} 65%, transparent)` : undefined,
      paths: look.stepped ? uPlot.paths.stepped({ align: 1 }) : undefined,
      points: { show: !this.stacked, size: 5, filter: alone },
      value: (_, __, ___, i) => (i === null || this.raw[k]?.[i] === null || this.raw[k]?.[i] === undefined ? "–" : full.format(this.raw[k][i])),
    };
  }
}

export class Charts {
  constructor(texts) {
    this.texts = texts;
    this.items = [];
    this.words = Object.fromEntries(
      [...document.querySelectorAll("tr[data-outcome]")].map((row) => [
        row.dataset.outcome,
        row.querySelector(".desk-word").textContent,
      ]),
    );
    this.left = new Chart("chart-left", texts.when);
    this.rates = new Chart("chart-rates", texts.when, { stacked: true });
    this.latency = new Chart("chart-latency", texts.when);
    this.lag = new Chart("chart-lag", texts.when);
    // Another theme has other colours.
    this.drawn = null;
    new MutationObserver(() => {
      for (const chart of [this.left, this.rates, this.latency, this.lag]) chart.forget();
      if (this.drawn) this.draw(...this.drawn);
    }).observe(document.documentElement, { attributeFilter: ["class"] });
  }

  // An item's colour and kind of line are its place in the order of appearance.
  itemLook(id) {
    if (!this.items.includes(id)) this.items.push(id);
    const place = this.items.indexOf(id);
    const name = `--series-${place % ITEM_COLORS}`;
    return {
      name,
      color: css(name),
      dash: DASHES[Math.floor(place / ITEM_COLORS) % DASHES.length],
    };
  }

  draw(points, nowMs, windowS) {
    this.drawn = [points, nowMs, windowS];
    const [from, to] = windowS ? recent(points, nowMs, windowS) : wholeSale(points, nowMs);
    const ids = [...new Set(points.flatMap((point) => Object.keys(point.left)))];
    ids.sort((a, b) => Number(a) - Number(b));
    this.left.draw(
      points,
      ids.map((id) => [fill(this.texts.item, id), { ...this.itemLook(id), stepped: true }, (point) => point.left[id]]),
      from,
      to,
    );
    const seen = new Set(points.flatMap((point) => Object.keys(point.rates)));
    this.rates.draw(
      points,
      ORDER.filter((name) => seen.has(name)).map((name) => [this.words[name], { color: outcomeColor(name) }, (point) => point.rates[name] || 0]),
      from,
      to,
    );
    // Told apart without colour: solid, dashed, dotted and wide.
    const looks = [[css("--series-0"), [], 1.5], [css("--series-1"), [8, 4], 1.5], [css("--desk-strong"), [2, 3], 2.5]];
    this.latency.draw(
      points,
      looks.map(([color, dash, width], i) => [["p50", "p95", "p99"][i], { color, dash, width, join: true }, (point) => point.ms?.[i]]),
      from,
      to,
    );
    const all = (lag) => (lag ? Object.values(lag) : null);
    this.lag.draw(
      points,
      [
        [this.texts.in_kafka, { color: css("--series-0"), join: true }, (point) => all(point.lag)?.reduce((sum, n) => sum + n, 0)],
        [this.texts.fullest, { color: css("--series-4"), dash: [2, 3], join: true }, (point) => all(point.lag)?.reduce((most, n) => Math.max(most, n), 0)],
        [this.texts.waiting, { color: css("--series-1"), dash: [8, 4] }, (point) => point.waiting],
      ],
      from,
      to,
    );
  }
}

// A history that is younger than the window fills the chart all the same.
function recent(points, nowMs, windowS) {
  const first = points.length ? points[0].t : nowMs;
  return [Math.max(nowMs - windowS * 1000, Math.min(first, nowMs - MINUTE_MS)), nowMs];
}

// From the first stock to now, or until a little after the last request where that is long ago.
function wholeSale(points, nowMs) {
  const first = points.find((point) => Object.keys(point.left).length);
  const last = points.findLast((point) => Object.keys(point.rates).length);
  if (!first || !last) return recent(points, nowMs, 60);
  const end = Math.max(last.t + (last.t - first.t) / 10, first.t + MINUTE_MS / 2);
  return [first.t, nowMs - last.t < MINUTE_MS ? nowMs : end];
}
