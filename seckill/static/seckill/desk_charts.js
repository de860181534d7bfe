// The desk's four charts, on Chart.js (a global, from unfold's own files). Owns what a chart looks
// like; colours come from desk.css, so that an outcome has the same one wherever it is shown.

const ITEM_COLORS = 8;
const MINUTE_MS = 60000;
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const full = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const ORDER = [
  "ACCEPTED", "SOLD_OUT", "OVER", "EXPIRED", "LIMIT", "NOT_OPEN", "UNKNOWN_ITEM", "NO_SUCH_ACTIVITY", "INVALID",
];

const css = (name) => getComputedStyle(document.getElementById("desk")).getPropertyValue(name).trim();
const outcomeColor = (name) => css(`--outcome-${name.toLowerCase().replaceAll("_", "-")}`);

// A point between two gaps makes no line: it is shown as itself.
function alone({ dataset, dataIndex }) {
  const has = (i) => dataset.data[i] !== undefined && dataset.data[i].y !== null;
  return has(dataIndex) && !has(dataIndex - 1) && !has(dataIndex + 1) ? 3 : 0;
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
    this.left = this.chart("chart-left", { legend: true });
    this.rates = this.chart("chart-rates", { stacked: true, legend: true });
    this.latency = this.chart("chart-latency", { legend: true });
    this.lag = this.chart("chart-lag", { stacked: true, legend: true });
    this.all = [this.left, this.rates, this.latency, this.lag];
    this.paint();
    new MutationObserver(() => this.paint()).observe(document.documentElement, { attributeFilter: ["class"] });
  }

  // An item's colour is its place in the order of appearance.
  itemColor(id) {
    if (!this.items.includes(id)) this.items.push(id);
    return css(`--series-${this.items.indexOf(id) % ITEM_COLORS}`);
  }

  chart(id, { stacked = false, legend = false }) {
    return new Chart(document.getElementById(id), {
      type: "line",
      data: { datasets: [] },
      options: {
        animation: false,
        parsing: false,
        normalized: true,
        responsive: true,
        maintainAspectRatio: false,
        interaction: { mode: "index", intersect: false },
        elements: { point: { radius: alone, hitRadius: 6 }, line: { borderWidth: 1.5, tension: 0 } },
        plugins: {
          legend: { display: legend, position: "bottom", labels: { boxWidth: 10, boxHeight: 10, padding: 12 } },
          tooltip: {
            callbacks: {
              title: (hits) => (hits.length ? clock.format(hits[0].parsed.x) : ""),
              label: (hit) => `${hit.dataset.label}: ${full.format(hit.parsed.y)}`,
            },
          },
        },
        scales: {
          x: {
            type: "linear",
            ticks: { callback: (ms) => clock.format(ms), maxRotation: 0, autoSkip: true, maxTicksLimit: 6 },
          },
          y: { beginAtZero: true, suggestedMax: 10, grace: "5%", stacked, ticks: { callback: (n) => short.format(n), maxTicksLimit: 6 } },
        },
      },
    });
  }

  // Colours of the theme that is on.
  paint() {
    const text = css("--desk-text");
    const line = css("--desk-line");
    for (const chart of this.all) {
      chart.options.color = text;
      chart.options.font = { family: "Inter, system-ui, sans-serif" };
      for (const axis of Object.values(chart.options.scales)) {
        axis.ticks.color = text;
        axis.grid = { color: line };
        axis.border = { color: line };
      }
      for (const set of chart.data.datasets) this.dye(set);
      chart.update("none");
    }
  }

  dye(set) {
    const color = set.outcome ? outcomeColor(set.outcome) : css(`--series-${set.series % ITEM_COLORS}`);
    set.borderColor = color;
    set.backgroundColor = set.fill ? `color-mix(in srgb, ${color} 65%, transparent)` : color;
  }

  // Give a chart these lines: [key, label, {series or outcome, fill}, value of a point].
  lines(chart, points, list) {
    const known = new Map(chart.data.datasets.map((set) => [set.key, set]));
    chart.data.datasets = list.map(([key, label, look, valueOf]) => {
      const set = known.get(key) || { key, label, ...look };
      if (!known.has(key)) this.dye(set);
      set.data = points.map((point) => ({ x: point.t, y: valueOf(point) ?? null }));
      return set;
    });
  }

  draw(points, nowMs, windowS) {
    const ids = [...new Set(points.flatMap((point) => Object.keys(point.left)))];
    ids.sort((a, b) => Number(a) - Number(b));
    for (const id of ids) this.itemColor(id);
    this.lines(
      this.left,
      points,
      ids.map((id) => [id, this.texts.item.replace("{n}", id), { series: this.items.indexOf(id), stepped: true }, (point) => point.left[id]]),
    );
    const seen = new Set(points.flatMap((point) => Object.keys(point.rates)));
    this.lines(
      this.rates,
      points,
      ORDER.filter((name) => seen.has(name)).map((name) => [name, this.words[name], { outcome: name, fill: true }, (point) => point.rates[name] || 0]),
    );
    this.lines(
      this.latency,
      points,
      ["p50", "p95", "p99"].map((name, i) => [name, name, { series: [0, 3, 1][i], spanGaps: 5000 }, (point) => point.ms?.[i]]),
    );
    const partitions = [...new Set(points.flatMap((point) => Object.keys(point.lag || {})))];
    partitions.sort((a, b) => Number(a) - Number(b));
    this.lines(this.lag, points, [
      ...partitions.map((n, i) => [n, this.texts.partition.replace("{n}", n), { series: i, fill: true, stack: "kafka", spanGaps: 5000 }, (point) => point.lag?.[n]]),
      ["waiting", this.texts.waiting, { series: 6, stack: "postgres", borderDash: [4, 3] }, (point) => point.waiting],
    ]);
    const [from, to] = windowS ? recent(points, nowMs, windowS) : whole(points, nowMs);
    for (const chart of this.all) {
      chart.options.scales.x.min = from;
      chart.options.scales.x.max = to;
      chart.update("none");
    }
  }
}

// A history that is younger than the window fills the chart all the same.
function recent(points, nowMs, windowS) {
  const first = points.length ? points[0].t : nowMs;
  return [Math.max(nowMs - windowS * 1000, Math.min(first, nowMs - MINUTE_MS)), nowMs];
}

// From the first stock to now, or until a little after the last request where that is long ago.
function whole(points, nowMs) {
  const first = points.find((point) => Object.keys(point.left).length);
  const last = points.findLast((point) => Object.keys(point.rates).length);
  if (!first || !last) return recent(points, nowMs, 60);
  const end = Math.max(last.t + (last.t - first.t) / 10, first.t + MINUTE_MS / 2);
  return [first.t, nowMs - last.t < MINUTE_MS ? nowMs : end];
}
