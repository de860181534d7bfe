// The desk's tables. Rows stay where they are, so that a link that has the focus keeps it.

/* global times */
import { byId, fill, make, put, span, texts, whole, write } from "./words.js";

// Rows are kept by their key and changed in place: a link that has the focus keeps it.
function rows(body, list, keyOf, create, update, empty, place = (row) => body.append(row)) {
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
    if (!row.isConnected) place(row);
  }
  for (const row of known.values()) row.remove();
}

function cell(row, index, text) {
  if (row.cells[index].textContent !== text) row.cells[index].textContent = text;
}

export function items(content, charts) {
  rows(
    byId("items"),
    content.items,
    (item) => item.id,
    (item) => {
      const row = document.createElement("tr");
      const name = make("th", "", { scope: "row" });
      const swatch = make("span", "", { class: "desk-line", "aria-hidden": "true" });
      const look = charts.itemLook(item.id);
      swatch.style.borderColor = `var(${look.name})`;
      swatch.style.borderTopStyle = look.dash.length === 0 ? "solid" : look.dash[0] > 4 ? "dashed" : "dotted";
      name.append(swatch, `\u00a0${item.id}${item.name ? ` · ${item.name}` : ""}`);
      row.append(name);
      for (let i = 0; i < 3; i += 1) row.append(make("td", "", { class: "desk-number" }));
      if (texts.steer) {
        const acts = make("td", "", { class: "desk-row-acts" });
        for (const [act, label] of [["add", texts.add], ["stock", texts.set]]) {
          acts.append(make("a", label, { href: `${texts[`${act}_url`]}?item=${item.id}`, "aria-label": `${label} ${item.id}`, "data-row-act": act }));
        }
        row.append(acts);
      }
      return row;
    },
    (row, item) => {
      row.dataset.out = item.left === 0 ? "yes" : "no";
      for (const link of row.querySelectorAll("[data-row-act]")) link.hidden = !content.acts.includes(link.dataset.rowAct);
      // Without Redis only what is stored of it is known.
      cell(row, 1, item.left === null ? "–" : whole.format(item.left));
      cell(row, 2, item.left === null ? fill(texts.stored, whole.format(item.sold)) : whole.format(item.sold));
      cell(row, 3, whole.format(item.loaded));
    },
    texts.no_items,
  );
}

// A sale over several lanes: a row for each of its activities, and the sums.
export function sale(now) {
  byId("sale").hidden = !now;
  if (!now) return;
  rows(
    byId("sale-parts"),
    now.parts,
    (part) => part.id,
    (part) => {
      const row = document.createElement("tr");
      const name = make("th", "", { scope: "row" });
      name.append(part.here ? part.lane : make("a", part.lane, { href: part.url }));
      name.append(" ", make("span", "", { class: "desk-badge" }));
      const number = fill(texts.activity, part.id);
      name.append(make("small", part.here ? `${number} · ${texts.this_page}` : number));
      row.append(name);
      for (let i = 0; i < 3; i += 1) row.append(make("td", "", { class: "desk-number" }));
      return row;
    },
    (row, part) => {
      const badge = row.querySelector(".desk-badge");
      badge.dataset.kind = part.kind;
      write(badge, part.text);
      ["left", "sold", "loaded"].forEach((what, i) => cell(row, i + 1, part[what] === null ? "–" : whole.format(part[what])));
    },
    "",
  );
  for (const what of ["left", "sold", "loaded"]) put(`sale-${what}`, whole.format(now[what]));
  const away = now.parts.filter((part) => part.away).map((part) => part.lane).join(", ");
  const notes = [
    away && fill(texts.without, away),
    now.on_the_way && fill(texts.on_the_way, whole.format(now.on_the_way)),
  ];
  put("sale-way", notes.filter(Boolean).join(" · "));
}

export function outcomes(content, last) {
  const counts = { ...content.outcomes, INVALID: content.figures.invalid, NO_SUCH_ACTIVITY: content.figures.no_such_activity };
  for (const row of byId("outcomes").rows) {
    const name = row.dataset.outcome;
    const count = counts[name] || 0;
    row.dataset.none = count ? "no" : "yes";
    cell(row, 1, whole.format(count));
    cell(row, 2, whole.format(last.rates[name] || 0));
  }
}

export function workers(list) {
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

export function partitions(lag) {
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
      cell(row, 1, whole.format(n));
    },
    texts.unknown,
  );
}

// An act that was refused or not finished never looks done.
export function acts(list) {
  if (!byId("acts")) return;
  rows(
    byId("acts"),
    // The newest stands first.
    [...list].reverse(),
    (act) => `${act.url} ${act.state}`,
    (act) => {
      const row = make("tr", "", { "data-done": act.done ? "yes" : "no" });
      const name = make("th", "", { scope: "row" });
      name.append(make("a", act.text, { href: act.url }));
      if (!act.done) name.append(" ", make("span", act.state, { class: "desk-badge", "data-kind": "warning" }));
      if (act.part) name.append(make("small", act.part));
      const result = make("td", act.result);
      if (act.note) result.append(make("small", act.note));
      row.append(make("td", times.text(act.at)), make("td", act.who), name, result);
      return row;
    },
    () => {},
    texts.no_acts,
    (row) => byId("acts").prepend(row),
  );
}
