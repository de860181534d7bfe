// The buyers' page. A click has its key, stored, before it is sent: whatever happens to the page,
// the network or the phone, the same click goes on, and it can never buy twice.
import { chinese, texts } from "./texts.js";

const PENDING = ["waiting", "held"];
const STALE_MS = 600_000; // A click without a ticket is not sent again by itself after this.
const activity = location.pathname.split("/").pop();
const at = (id) => document.getElementById(id);
let offset = 0, seen = null, click = null, following = false, refusedAt = null, wake = () => {};

function readToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("seckill.token", given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem("seckill.token");
}
let token = readToken();

function buyer() {
  try {
    return String(JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"))).sub);
  } catch { return ""; }
}
const place = () => `seckill.click.${activity}.${buyer()}`;
function load() {
  const text = localStorage.getItem(place()) ?? sessionStorage.getItem(place());
  return text ? JSON.parse(text) : null;
}
function store() {
  for (const kept of [sessionStorage, localStorage]) {
    if (click) kept.setItem(place(), JSON.stringify(click)); else kept.removeItem(place());
  }
}

function say(name, tone = "wait", n = "") {
  const [headline, detail] = texts[name];
  const told = detail.replace("{n}", n);
  // Only what changes is written, so that a screen reader says it once.
  if (at("headline").textContent !== headline) at("headline").textContent = headline;
  if (at("detail").textContent !== told) at("detail").textContent = told;
  Object.assign(at("result").dataset, { tone, name });
  at("result").hidden = false;
  at("again").hidden = !["unknown", "yours", "paid"].includes(name);
  at("again").textContent = name === "unknown" ? texts.again : texts.another;
  const held = ["held", "late", "notBack"].includes(name);
  at("back").hidden = !held;
  at("pay").hidden = name !== "held" || !click?.pay;
  if (!at("pay").hidden) at("pay").href = click.pay;
  at("left").hidden = name !== "held";
}

const ms_left = () => click.until - Date.now() - offset;
function sayHeld() {
  if (ms_left() <= 0) { say("late"); return; }
  say("held", "yes", new Date(click.until).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
}

function sleep(ms) {
  return new Promise((done) => { const timer = setTimeout(done, ms); wake = () => { clearTimeout(timer); done(); }; });
}

async function ask(path, options = {}, limit = 35_000) {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), limit);
  wake = () => stop.abort();
  try {
    const answer = await fetch(path, { ...options, cache: "no-store", signal: stop.signal });
    const content = await answer.json();
    return { status: answer.status, content, after: Number(answer.headers.get("retry-after")) || 0 };
  } catch { return { status: 0, content: {}, after: 0 }; } finally { clearTimeout(timer); }
}

const send = () => ask("/v1/requests", {
  method: "POST",
  headers: { authorization: `Bearer ${token}`, "idempotency-key": click.key, prefer: "wait=2", "content-type": "application/json" },
  body: JSON.stringify({ activity_id: Number(activity), items: { [click.item]: 1 } }),
});
// Who knows of the hold waits for its end.
const follow_up = () => ask(`/v1/tickets/${click.ticket}${click.state === "held" ? "?state=held" : ""}`, { headers: { prefer: `wait=${click.ahead > 100 ? 5 : 25}` } });

async function follow() {
  if (following) return;
  following = true;
  let tries = 0;
  while (click && PENDING.includes(click.state)) {
    if (!click.ticket) say("sending");
    draw();
    const mine = click, before = `${click.state} ${click.ahead}`, began = Date.now();
    const { status, content, after } = await (click.ticket ? follow_up() : send());
    if (click !== mine) continue;
    if (status === 200 || status === 202) {
      tries = 0;
      take(content);
      if (content.delayed) await sleep(1000 * after + 500 * Math.random());
      // Too many calls of this buyer or address wait: the door answers at once.
      else if (click && `${click.state} ${click.ahead}` === before && Date.now() - began < 1000) await sleep(1000 + 1000 * Math.random());
    } else if (status === 401) { say("signin", "no"); break; }
    else if (status === 410) take({ state: "void" });
    else if (status === 404 && click.ticket) { delete click.ticket; store(); }
    else if (status >= 400 && status < 500 && ![408, 429].includes(status)) take({ state: "refused" });
    if (status !== 200 && status !== 202) {
      if (tries > 1 && click?.ticket && click.state === "waiting") say("delayed");
      const most = Math.min(15_000, 500 * 2 ** tries++);
      await sleep(Math.max(after * 1000, most / 2) + Math.random() * most / 2);
    }
  }
  following = false;
  draw();
}

function take(content) {
  // Nothing can be read of a hold now. It stays one.
  if (content.state === "waiting" && click.state === "held") return;
  Object.assign(click, { ticket: content.ticket ?? click.ticket, state: content.state, ahead: content.ahead });
  if (content.state === "waiting") {
    store();
    if (content.delayed) say("delayed");
    else if (content.ahead > 0) say("waiting", "wait", content.ahead.toLocaleString());
    else say("next");
  } else if (content.state === "held") {
    Object.assign(click, { until: content.pay_until, pay: content.pay_url });
    store();
    sayHeld();
  } else if (content.state === "accepted") { store(); say("yours", "yes"); }
  else if (content.state === "paid") { store(); say("paid", "yes"); }
  else if (content.state === "expired" || content.state === "cancelled") {
    // A new try is a new click: the key of this one has its answer.
    click = null;
    store();
    refusedAt = null;
    say(content.state, "no");
  } else {
    // The key of what was refused is free: the next click is a new one.
    click = null;
    store();
    refusedAt = seen && `${seen.version}.${seen.epoch}`;
    say(content.state === "void" ? "void" : texts[content.outcome] ? content.outcome : "refused", "no");
  }
}

function begin(item) {
  click = load();
  if (!click || !PENDING.includes(click.state)) {
    const key = Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
    click = { key, item, state: "waiting", at: Date.now() };
    store();
  }
  refusedAt = null;
  follow();
}

async function giveBack() {
  if (!click || click.state !== "held" || !confirm(texts.sure)) return;
  const mine = click;
  at("back").disabled = true;
  try {
    const answer = await fetch(`/v1/tickets/${click.ticket}`, { method: "DELETE", headers: { prefer: "wait=5" }, cache: "no-store" });
    if (!answer.ok) throw answer.status;
    const content = await answer.json();
    // Not decided yet: who follows the hold hears it.
    if (click === mine && content.state !== "held") { take(content); draw(); }
  } catch { if (click === mine && click.state === "held") say("notBack"); }
  at("back").disabled = false;
}

function resume() {
  token = readToken();
  if (!token) { click = null; say("signin", "no"); draw(); return; }
  click = load();
  if (click?.state === "accepted") say("yours", "yes");
  else if (click?.state === "paid") say("paid", "yes");
  else if (click && !click.ticket && Date.now() - click.at > STALE_MS) say("unknown");
  else if (click) { if (click.state === "held") sayHeld(); follow(); }
  draw();
}

function draw() {
  if (!seen) return;
  const busy = !token || following || click !== null;
  for (const item of seen.items) {
    const id = `item-${item.id}`;
    if (!at(id)) {
      const row = Object.assign(document.createElement("li"), { id });
      const words = document.createElement("div");
      const name = Object.assign(document.createElement("strong"), { textContent: item.name || `${texts.item} ${item.id}` });
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: texts.buy });
      words.append(name, document.createElement("span"));
      button.setAttribute("aria-label", `${texts.buy}: ${name.textContent}`);
      button.addEventListener("click", () => { if (!click) begin(item.id); });
      row.append(words, button);
      at("items").append(row);
    }
    const left = seen.state === "sold_out" ? "gone" : item.left;
    const shown = at(id).querySelector("span");
    shown.textContent = texts[left];
    shown.className = left;
    at(id).querySelector("button").disabled = busy || left === "gone" || seen.state !== "open";
  }
}

async function look() {
  const began = Date.now();
  let answer;
  try {
    answer = await fetch(`/v1/activities/${activity}`, { cache: "no-store", signal: AbortSignal.timeout?.(5000) });
    if (!answer.ok) throw answer.status;
    seen = await answer.json();
  } catch (wrong) { at("note").textContent = wrong === 404 ? texts.missing : texts.away; return null; }
  at("note").textContent = seen.state === "paused" ? texts.pausedNote : "";
  at("name").textContent = document.title = seen.name || `${texts.sale} ${activity}`;
  at("phase").textContent = texts[seen.state];
  at("phase").hidden = false;
  if (refusedAt && refusedAt !== `${seen.version}.${seen.epoch}` && seen.state === "open") {
    refusedAt = null;
    at("result").hidden = true;
  }
  draw();
  return seen.now - (began + Date.now()) / 2;
}

const two = (n) => String(n).padStart(2, "0");
function tick() {
  if (click?.state === "held" && !at("left").hidden) {
    const left = Math.ceil(ms_left() / 1000);
    if (left <= 0) sayHeld();
    else at("left").textContent = texts.left.replace("{n}", `${Math.floor(left / 60)}:${two(left % 60)}`);
  }
  const end = seen && (seen.state === "soon" ? seen.opens_at : seen.state === "open" ? seen.closes_at : null);
  at("clock").hidden = !end;
  if (!end) return;
  const left = Math.max(0, Math.ceil((end - Date.now() - offset) / 1000));
  const days = Math.floor(left / 86400);
  at("clock").textContent = (seen.state === "soon" ? texts.opensIn : texts.closesIn) + (days ? `${days}${chinese ? "天 " : "d "}` : "")
    + [Math.floor(left / 3600) % 24, Math.floor(left / 60) % 60, left % 60].map(two).join(":");
}

async function watch() {
  const offsets = [];
  for (;;) {
    const found = document.hidden ? null : await look();
    if (found !== null && offsets.length < 3) {
      offsets.push(found);
      offset = offsets.toSorted((a, b) => a - b)[offsets.length >> 1];
    }
    // Units that come back are on sale at once.
    const pause = seen?.state === "sold_out" ? 600 : 1500;
    await new Promise((done) => setTimeout(done, offsets.length < 3 ? 300 : pause + pause / 2 * Math.random()));
  }
}

let hiddenAt = 0;
document.addEventListener("visibilitychange", () => {
  if (document.hidden) hiddenAt = Date.now();
  // A phone that slept may hold a dead connection: ask anew, at once.
  else { if (Date.now() - hiddenAt > 2000) wake(); look(); }
});
addEventListener("online", () => { wake(); look(); });
addEventListener("pageshow", (event) => { if (event.persisted) resume(); });
addEventListener("hashchange", resume);
// Another tab made or ended the click.
addEventListener("storage", (event) => { if (event.key === place() && !following) resume(); });
at("again").addEventListener("click", () => {
  if (["accepted", "paid"].includes(click?.state)) { click = null; store(); at("result").hidden = true; draw(); } else follow();
});
at("pay").textContent = texts.pay;
at("back").textContent = texts.giveBack;
at("back").addEventListener("click", giveBack);
document.documentElement.lang = chinese ? "zh-CN" : "en";
resume();
watch();
setInterval(tick, 250);
