// The texts of a live page, and small helpers to put them into it.

export const texts = JSON.parse(document.getElementById("desk-texts").textContent);
export const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export const byId = (id) => document.getElementById(id);
export const fill = (text, n) => text.replace("{n}", n);

export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export const put = (id, text) => write(byId(id), text);

export function make(tag, text = "", attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

export function span(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  const two = (text, n, m) => fill(text, n).replace("{m}", String(m).padStart(2, "0"));
  if (s < 60) return fill(texts.seconds, s);
  if (s < 3600) return two(texts.minutes, Math.floor(s / 60), s % 60);
  if (s < 86400) return two(texts.hours, Math.floor(s / 3600), Math.floor((s % 3600) / 60));
  return two(texts.days, Math.floor(s / 86400), Math.floor((s % 86400) / 3600));
}
