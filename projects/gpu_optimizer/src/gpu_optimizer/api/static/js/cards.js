// Parts that several views are made of: cards with a table, and legends.

import { el } from "../shared/js/dom.js";

const SVG = "http://www.w3.org/2000/svg";

/** A card with a table. Each column: title, class of its cells, and what a row has there. */
export function tableCard(title, columns, rows, id) {
  const head = el("tr", {}, ...columns.map(([name, kind]) => el("th", { scope: "col", class: kind === "n" ? "n" : null, text: name })));
  const body = rows.map((row) => el("tr", {}, ...columns.map(([, kind, value]) => el("td", { class: kind || null, text: value(row) }))));
  const table = el("table", {}, el("thead", {}, head), el("tbody", {}, ...body));
  return el(
    "section",
    { class: "card", "data-testid": id },
    el("header", { class: "card-head" }, el("h2", { text: title })),
    el("div", { class: "table-box", tabindex: "0", role: "region", "aria-label": title }, table),
  );
}

/** A legend; colours go by the page's inks. */
export function legend(entries) {
  return el("ul", { class: "legend" }, ...entries.map(([text, ink]) => legendEntry(text, ink)));
}

/** One entry of a legend. */
export function legendEntry(text, ink) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 12 12");
  svg.setAttribute("aria-hidden", "true");
  const mark = document.createElementNS(SVG, "rect");
  for (const [name, value] of [["width", 12], ["height", 12], ["rx", 3], ["fill", `var(--ink-${ink})`]]) mark.setAttribute(name, value);
  svg.append(mark);
  return el("li", {}, svg, el("span", { text }));
}
