// The desk of one activity: asks for the figures each second and shows them. Owns the page's text;
// tables are in desk_tables.js, charts in desk_charts.js.

/* global times */
import { alerts } from "./alerts.js";
import { Charts } from "./desk_charts.js";
import { acts, items, outcomes, partitions, sale, workers } from "./desk_tables.js";
import { Watch } from "./watch.js";
import { byId, fill, put, span, texts, whole } from "./words.js";

const charts = new Charts(texts);
// Seconds that the charts show; 0 is all of the history.
let windowS = 300;
// No answer yet: a sale that is past is opened as a whole.
let opening = true;
let points = [];

const watch = new Watch({
  address() {
    const stored = points.filter((point) => !point.live);
    const since = stored.length ? stored[stored.length - 1].t : 0;
    return `${texts.data}?window=${windowS}&since=${since}`;
  },
  show,
  complain: (trouble) => alerts([trouble]),
  known,
});

function show(content) {
  if (opening && isPast(content)) return choose(0);
  opening = false;
  points = points.filter((point) => !point.live).concat(content.points);
  const oldest = windowS ? content.now_ms - windowS * 1000 : 0;
  // One point before the left edge: lines begin there.
  while (points.length > 1 && points[1].t < oldest) points.shift();
  const last = points[points.length - 1] || { rates: {} };
  Object.assign(byId("desk").dataset, { answered: "yes", known: "" });
  head(content);
  alerts(content.alerts);
  tiles(content, last);
  sale(content.sale);
  items(content, charts);
  outcomes(content, last);
  workers(content.workers);
  partitions(content.lag);
  acts(content.done);
  charts.draw(points, content.now_ms, windowS);
}

// While Redis is away: what PostgreSQL and the other lanes of the sale say. Figures of Redis stay, dimmed;
// a page that has none yet gets those of PostgreSQL alone, and nothing of it is old.
function known(now) {
  const alone = byId("desk").dataset.answered === "no";
  byId("desk").dataset.known = alone ? "alone" : "beside";
  put("stored", whole.format(now.stored));
  sale(now.sale);
  acts(now.done);
  if (!alone) return;
  put("state", now.text);
  byId("state").dataset.kind = "danger";
  items({ items: now.items, acts: [] }, charts);
}

// Requests were decided, and none of them within the time that is shown.
function isPast(content) {
  const decided = Object.values(content.outcomes).reduce((sum, n) => sum + n, 0);
  return windowS > 0 && decided > 0 && ![...points, ...content.points].some((point) => Object.keys(point.rates).length);
}

function head(content) {
  const now = content.activity;
  put("state", now.text);
  byId("state").dataset.kind = now.kind;
  const rules = [];
  if (now.version !== null) rules.push(fill(texts.version, now.version));
  for (const [text, ms] of [[texts.opens, now.opens_at_ms], [texts.closes, now.closes_at_ms]]) {
    if (ms > content.now_ms) rules.push(`${fill(text, span(ms - content.now_ms))}, ${times.line(ms)}`);
  }
  if (now.hold_s !== null) rules.push(fill(texts.hold, span(1000 * now.hold_s)));
  if (now.user_limit !== null) rules.push(fill(texts.limit, whole.format(now.user_limit)));
  put("rules", rules.join(" · "));
  put("clock", times.line(content.now_ms));
  for (const button of document.querySelectorAll("[data-act]")) {
    button.hidden = !content.acts.includes(button.dataset.act);
    button.dataset.kind = button.dataset.act === content.primary ? "primary" : button.dataset.plain;
  }
  const more = byId("more-acts");
  if (more) more.hidden = [...more.querySelectorAll("[data-act]")].every((button) => button.hidden);
}

function tiles(content, last) {
  const now = content.figures;
  put("left", whole.format(now.left));
  put("loaded", fill(texts.of, whole.format(now.loaded)));
  byId("left-bar").style.width = now.loaded ? `${(100 * now.left) / now.loaded}%` : "0";
  // Of this activity: requests that name none are the lane's.
  const { INVALID, NO_SUCH_ACTIVITY, ...own } = last.rates;
  const rate = Object.values(own).reduce((sum, n) => sum + n, 0);
  put("rate", whole.format(rate));
  put("accepted-rate", whole.format(last.rates.ACCEPTED || 0));
  put("accepted", whole.format(now.accepted));
  put("requests", whole.format(now.requests));
  const [p50, p95, p99] = (content.latency || []).map((ms) => whole.format(Math.round(ms)));
  put("latency", p50 || "–");
  put("latency-tail", p50 ? `p95\u00a0${p95} · p99\u00a0${p99}` : "");
  put("lag", now.lag === null ? texts.unknown : whole.format(now.lag));
  put("waiting", whole.format(now.waiting));
  put("stored", whole.format(now.stored));
  put("stored-of", fill(texts.of_sold, whole.format(now.sold)));
  holds(content.holds);
  put("lost", whole.format(now.lost));
  byId("lost-tile").dataset.kind = now.lost ? "warning" : "";
  put("dead", whole.format(now.dead));
  byId("dead-tile").dataset.kind = now.dead ? "danger" : "";
  const audit = content.audit;
  put("audit", audit ? audit.word : texts.never);
  put("audit-age", audit ? fill(texts.ago, span(audit.age_ms)) : "");
  byId("audit-tile").title = audit ? audit.finding : "";
  byId("audit-dot").dataset.kind = audit ? audit.light : "default";
  byId("audit-tile").dataset.kind = audit && audit.light === "danger" ? "danger" : "";
}

function holds(now) {
  byId("holds").hidden = now === null;
  if (now === null) return;
  for (const name of ["held", "paid", "expired", "cancelled", "returned", "late"]) put(`holds-${name}`, whole.format(now[name]));
  byId("late-tile").dataset.kind = now.late ? "warning" : "";
}

function choose(seconds) {
  opening = false;
  windowS = seconds;
  points = [];
  for (const button of document.querySelectorAll("[data-window]")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.window) === seconds));
  }
  return watch.again();
}

for (const button of document.querySelectorAll("[data-window]")) {
  button.addEventListener("click", () => choose(Number(button.dataset.window)));
}
// A menu closes when something else is chosen, and at Escape.
const menu = byId("more-acts");
document.addEventListener("click", (event) => {
  if (menu && !menu.contains(event.target)) menu.open = false;
});
menu?.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  menu.open = false;
  menu.querySelector("summary").focus();
});
watch.turn();
