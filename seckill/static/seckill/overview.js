// The overview: the verdict and the sales, asked for each second. Owns no layout: a sale that is new
// or in another place makes the page load again.

import { alerts } from "./alerts.js";
import { Watch } from "./watch.js";
import { texts, write } from "./words.js";

const cards = new Map([...document.querySelectorAll("[data-sale]")].map((card) => [card.dataset.sale, card]));

function show(content) {
  alerts([]);
  const known = content.sales.every((sale) => cards.has(String(sale.number)));
  if (!known) return location.reload();
  for (const sale of content.sales) {
    const card = cards.get(String(sale.number));
    for (const element of card.querySelectorAll("[data-field]")) write(element, sale[element.dataset.field]);
    card.querySelector(".desk-badge").dataset.kind = sale.kind;
  }
}

const watch = new Watch({ address: () => texts.data, show, complain: (trouble) => alerts([trouble]) });
watch.turn();
