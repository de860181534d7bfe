// Asks for figures each second. Owns the verdict's line, the pulse, and what is said while nothing
// answers. Never shows an old figure as a live one: what is stale is dimmed and says its age.

import { byId, fill, put, span, texts } from "./words.js";

// Milliseconds from one answer to the next question, and for one question at most.
const EVERY_MS = 1000;
const PATIENCE_MS = 6000;

export class Watch {
  // `address` gives the URL. `show` takes an answer. `complain` takes {title, text, command, link}.
  // `known` takes what can be said all the same while a service is away.
  constructor({ address, show, complain, known = () => {} }) {
    Object.assign(this, { address, show, complain, known });
    this.answeredAt = null;
    this.trouble = "";
    this.timer = null;
    // Grows when another question is asked instead: the answer to an older one is dropped.
    this.round = 0;
    // A page that nobody sees asks nothing; it goes on when it is looked at again.
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.turn();
    });
    setInterval(() => this.pulse(), EVERY_MS);
  }

  // Ask at once, and each second from then on.
  async turn() {
    clearTimeout(this.timer);
    await this.ask();
    this.pulse();
    clearTimeout(this.timer);
    if (!document.hidden) this.timer = setTimeout(() => this.turn(), EVERY_MS);
  }

  again() {
    this.round += 1;
    return this.turn();
  }

  async ask() {
    const asked = this.round;
    try {
      const answer = await fetch(this.address(), {
        headers: { Accept: "application/json" },
        cache: "no-store",
        redirect: "error",
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
      const content = await answer.json();
      if (asked !== this.round) return;
      if (answer.ok) {
        this.answered(content);
      } else if (answer.status === 401) {
        this.lost(texts.logged_out, texts.logged_out_text, { link: texts.login, label: texts.log_in });
      } else if (answer.status === 403) {
        this.lost(texts.forbidden, texts.forbidden_text);
      } else if (content.service) {
        const command = texts.look[content.service];
        const title = content.title || fill(texts.service_away, content.service);
        this.lost(title, content.text || texts.means[content.service] || "", { command });
        if (content.known) this.known(content.known);
      } else {
        this.lost(texts.web_away, texts.web_away_text);
      }
    } catch {
      // No answer, no JSON, or too late: the web process, or what stands in front of it, is away.
      if (asked === this.round) this.lost(texts.web_away, texts.web_away_text);
    }
  }

  answered(content) {
    this.answeredAt = performance.now();
    if (this.trouble !== "") {
      this.trouble = "";
      put("say", texts.back);
    }
    this.verdict(content.verdict);
    this.show(content);
  }

  // A change of the state is said aloud. Its figures change each second, and are only shown.
  verdict({ state, level, text }) {
    const line = byId("verdict");
    if (line.dataset.state && line.dataset.state !== state) put("say", text);
    line.dataset.state = state;
    line.dataset.level = level;
    put("verdict-text", text);
  }

  lost(title, text, more = {}) {
    if (this.trouble !== title) {
      this.trouble = title;
      put("say", `${title}. ${text}`);
    }
    const line = byId("verdict");
    // No state: that it is live again is said then, and the verdict is not said over it.
    Object.assign(line.dataset, { state: "", level: "danger" });
    put("verdict-text", title);
    this.complain({ level: "danger", title, text, ...more });
  }

  pulse() {
    const age = this.answeredAt === null ? null : performance.now() - this.answeredAt;
    const stale = this.trouble !== "" || age === null || age > 3 * EVERY_MS + PATIENCE_MS;
    byId("desk").dataset.stale = stale ? "yes" : "no";
    put("pulse", age === null ? texts.connecting : stale ? fill(texts.stale, span(age)) : texts.live);
    byId("pulse-dot").dataset.kind = stale ? "danger" : "success";
  }
}
