// The desk: asks for the figures each second and shows them. Owns the page's text; charts are in
// desk_charts.js. Never shows an old figure as a live one: what is stale is dimmed and says its age.

import { Charts } from "./desk_charts.js";

// Milliseconds from one answer to the next question, and for one question at most.
const EVERY_MS = 1000;
const PATIENCE_MS = 6000;

const texts = JSON.parse(document.getElementById("desk-texts").textContent);
const desk = document.getElementById("desk");
const charts = new Charts(texts);
const plain = new Intl.NumberFormat("en");
const rates = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

// Seconds that the charts show; 0 is all of the history.
let windowS = 300;
// No answer yet: a sale that is past is opened as a whole.
let opening = true;
let points = [];
let answeredAt = null;
let trouble = "";
let timer = null;
// Grows with each change of the window: an answer to an older question is dropped.
let round = 0;

const byId = (id) => document.getElementById(id);
const fill = (text, n) => text.replace("{n}", n);

function put(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

function make(tag, text = "", attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function span(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  const two = (text, n, m) => fill(text, n).replace("{m}", String(m).padStart(2, "0"));
  if (s < 60) return fill(texts.seconds, s);
  if (s < 3600) return two(texts.minutes, Math.floor(s / 60), s % 60);
  if (s < 86400) return two(texts.hours, Math.floor(s / 3600), Math.floor((s % 3600) / 60));
  return two(texts.days, Math.floor(s / 86400), Math.floor((s % 86400) / 3600));
}

async function ask() {
  const asked = round;
  const stored = points.filter((point) => !point.live);
  const since = stored.length ? stored[stored.length - 1].t : 0;
  try {
    const answer = await fetch(`${texts.data}?window=${windowS}&since=${since}`, {
      headers: { Accept: "application/json" },
      cache: "no-store",
      redirect: "error",
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    const content = await answer.json();
    if (asked !== round) return;
    if (answer.ok) {
      show(content);
    } else if (answer.status === 401) {
      complain(texts.logged_out, texts.logged_out_text, { link: texts.login, label: texts.log_in });
    } else if (answer.status === 403) {
      complain(texts.forbidden, texts.forbidden_text);
    } else if (content.service) {
      complain(fill(texts.service_away, content.service), texts.means[content.service] || "", { command: texts.look[content.service] });
    } else {
      complain(texts.web_away, texts.web_away_text);
    }
  } catch {
    // No answer, no JSON, or too late: the web process, or what stands in front of it, is away.
    if (asked === round) complain(texts.web_away, texts.web_away_text);
  }
}

async function turn() {
  clearTimeout(timer);
  await ask();
  pulse();
  clearTimeout(timer);
  // A page that nobody sees asks nothing; it goes on when it is looked at again.
  if (!document.hidden) timer = setTimeout(turn, EVERY_MS);
}

function pulse() {
  const age = answeredAt === null ? null : performance.now() - answeredAt;
  const stale = trouble !== "" || age === null || age > 3 * EVERY_MS + PATIENCE_MS;
  desk.dataset.stale = stale ? "yes" : "no";
  put("pulse", age === null ? texts.connecting : stale ? fill(texts.stale, span(age)) : texts.live);
  byId("pulse-dot").dataset.kind = stale ? "danger" : "success";
}

function complain(title, text, more = {}) {
  if (trouble !== title) {
    trouble = title;
    put("say", `${title}. ${text}`);
  }
  alerts([{ level: "danger", title, text, ...more }]);
}

function show(content) {
  answeredAt = performance.now();
  if (trouble !== "") {
    trouble = "";
    put("say", texts.back);
  }
  if (opening && isPast(content)) return choose(0);
  opening = false;
  points = points.filter((point) => !point.live).concat(content.points);
  const oldest = windowS ? content.now_ms - windowS * 1000 : 0;
  // One point before the left edge: lines begin there.
  while (points.length > 1 && points[1].t < oldest) points.shift();
  const last = points[points.length - 1] || { rates: {} };
  head(content);
  alerts(content.alerts);
  tiles(content, last);
  items(content);
  outcomes(content, last);
  workers(content.workers);
  partitions(content.lag);
  charts.draw(points, content.now_ms, windowS);
}

// Requests were decided, and none of them within the time that is shown.
function isPast(content) {
  const decided = Object.values(content.outcomes).reduce((sum, n) => sum + n, 0);
  return windowS > 0 && decided > 0 && ![...points, ...content.points].some((point) => Object.keys(point.rates).length);
}

function head(content) {
  const now = content.activity;
  const state = byId("state");
  if (state.textContent !== now.text && answeredAt !== null && state.dataset.kind !== "default") {
    put("say", now.text);
  }
  put("state", now.text);
  state.dataset.kind = now.kind;
  const rules = [];
  if (now.version !== null) rules.push(fill(texts.version, now.version));
  if (now.opens_at_ms > content.now_ms) rules.push(fill(texts.opens, span(now.opens_at_ms - content.now_ms)));
  if (now.closes_at_ms > content.now_ms) rules.push(fill(texts.closes, span(now.closes_at_ms - content.now_ms)));
  if (now.user_limit !== null) rules.push(fill(texts.limit, plain.format(now.user_limit)));
  put("rules", rules.join(" · "));
  for (const button of document.querySelectorAll("[data-act]")) {
    button.hidden = !content.acts.includes(button.dataset.act);
  }
}

function alerts(list) {
  const box = byId("alerts");
  const key = JSON.stringify(list);
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  box.replaceChildren(
    ...list.map((alert) => {
      const element = make("div", "", { class: "desk-alert", "data-level": alert.level });
      element.append(make("strong", alert.title), make("p", alert.text));
      if (alert.command) {
        const line = make("p", `${texts.run} `);
        line.append(make("code", alert.command));
        element.append(line);
      }
      if (alert.link) element.append(make("a", alert.label, { href: alert.link }));
      return element;
    }),
  );
}

function tiles(content, last) {
  const now = content.figures;
  put("left", plain.format(now.left));
  put("loaded", fill(texts.of, plain.format(now.loaded)));
  byId("left-bar").style.width = now.loaded ? `${(100 * now.left) / now.loaded}%` : "0";
  const rate = Object.values(last.rates).reduce((sum, n) => sum + n, 0);
  put("rate", rates.format(rate));
  put("accepted-rate", rates.format(last.rates.ACCEPTED || 0));
  put("accepted", plain.format(now.accepted));
  const [p50, p95, p99] = (content.latency || []).map((ms) => plain.format(Math.round(ms)));
  put("latency", p50 || "–");
  put("latency-tail", p50 ? `p95\u00a0${p95} · p99\u00a0${p99}` : "");
  put("lag", now.lag === null ? texts.unknown : plain.format(now.lag));
  put("waiting", plain.format(now.waiting));
  put("stored", plain.format(now.stored));
  put("lost", plain.format(now.lost));
  byId("lost-tile").dataset.kind = now.lost ? "warning" : "";
  put("dead", plain.format(now.dead));
  byId("dead-tile").dataset.kind = now.dead ? "danger" : "";
  const audit = content.audit;
  put("audit", audit ? audit.word : texts.never);
  put("audit-age", audit ? fill(texts.ago, span(audit.age_ms)) : "");
  byId("audit-tile").title = audit ? audit.finding : "";
  byId("audit-dot").dataset.kind = audit ? audit.light : "default";
  byId("audit-tile").dataset.kind = audit && audit.light === "danger" ? "danger" : "";
}

// Rows are kept by their key and changed in place: a link that has the focus keeps it.
function rows(body, list, keyOf, create, update, empty) {
  const known = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  if (list.length === 0) {
    if (!known.has("")) {
      const row = make("tr", "", { "data-key": "" });
      row.append(make("td", empty, { colspan: "9", class: "desk-muted" }));
      body.replaceChildren(row);
    }
    return;
  }
  for (const entry of list) {
    const key = keyOf(entry);
    let row = known.get(key);
    if (!row) {
      row = create(entry);
      row.dataset.key = key;
    }
    known.delete(key);
    update(row, entry);
    if (!row.isConnected) body.append(row);
  }
  for (const row of known.values()) row.remove();
}

function cell(row, index, text) {
  if (row.cells[index].textContent !== text) row.cells[index].textContent = text;
}

function items(content) {
  rows(
    byId("items"),
    content.items,
    (item) => item.id,
    (item) => {
      const row = document.createElement("tr");
      const name = make("th", "", { scope: "row" });
      const swatch = make("span", "", { class: "desk-swatch", "aria-hidden": "true" });
      swatch.style.background = charts.itemColor(item.id);
      name.append(swatch, `\u00a0${item.id}${item.name ? ` · ${item.name}` : ""}`);
      row.append(name);
      for (let i = 0; i < 3; i += 1) row.append(make("td", "", { class: "desk-number" }));
      if (texts.steer) {
        const acts = make("td", "", { class: "desk-row-acts" });
        for (const [act, label] of [["add", texts.add], ["stock", texts.set]]) {
          acts.append(make("a", label, { href: `${texts[`${act}_url`]}?item=${item.id}`, "aria-label": `${label} ${item.id}` }));
        }
        row.append(acts);
      }
      return row;
    },
    (row, item) => {
      row.dataset.out = item.left === 0 ? "yes" : "no";
      cell(row, 1, plain.format(item.left));
      cell(row, 2, plain.format(item.sold));
      cell(row, 3, plain.format(item.loaded));
    },
    texts.no_items,
  );
}

function outcomes(content, last) {
  const counts = { ...content.outcomes, INVALID: content.figures.invalid, NO_SUCH_ACTIVITY: content.figures.no_such_activity };
  for (const row of byId("outcomes").rows) {
    const name = row.dataset.outcome;
    const count = counts[name] || 0;
    row.dataset.none = count ? "no" : "yes";
    cell(row, 1, plain.format(count));
    cell(row, 2, rates.format(last.rates[name] || 0));
  }
}

function workers(list) {
  const kinds = { alive: "success", stuck: "warning", silent: "danger" };
  rows(
    byId("workers"),
    list,
    (worker) => worker.id,
    (worker) => {
      const row = document.createElement("tr");
      const name = make("th", "", { scope: "row" });
      name.append(worker.kind, make("small", worker.id), make("small", "", { class: "desk-detail" }));
      row.append(name, make("td"), make("td", "", { class: "desk-number" }), make("td", "", { class: "desk-number" }));
      row.cells[1].append(make("span", "", { class: "desk-badge" }));
      return row;
    },
    (row, worker) => {
      const badge = row.cells[1].firstChild;
      badge.textContent = texts[worker.health];
      badge.dataset.kind = kinds[worker.health];
      row.querySelector(".desk-detail").textContent = worker.detail;
      cell(row, 2, fill(texts.ago, span(worker.beat_age_ms)));
      cell(row, 3, fill(texts.ago, span(worker.progress_age_ms)));
    },
    texts.no_workers,
  );
}

function partitions(lag) {
  rows(
    byId("partitions"),
    Object.entries(lag),
    ([partition]) => partition,
    () => {
      const row = document.createElement("tr");
      row.append(make("th", "", { scope: "row" }), make("td", "", { class: "desk-number" }));
      return row;
    },
    (row, [partition, n]) => {
      cell(row, 0, partition);
      cell(row, 1, plain.format(n));
    },
    texts.unknown,
  );
}

function choose(seconds) {
  opening = false;
  windowS = seconds;
  points = [];
  round += 1;
  for (const button of document.querySelectorAll("[data-window]")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.window) === seconds));
  }
  return turn();
}

for (const button of document.querySelectorAll("[data-window]")) {
  button.addEventListener("click", () => choose(Number(button.dataset.window)));
}
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) turn();
});
setInterval(pulse, EVERY_MS);
turn();
