// The boxes that say what needs a person: the same on the overview and on the desk.

import { byId, make, texts } from "./words.js";

export function alerts(list) {
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
