// Small functions around the document. Text from the server only ever becomes text, never markup.

/** The element of that id; it is a fault of the page when there is none. */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no element #${id}`);
  return found;
}

/** Make an element: `class`, `text`, `on` and attributes; null and false leave one out. */
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") made.className = value;
    else if (name === "text") made.textContent = value;
    else if (name === "on") for (const [type, listener] of Object.entries(value)) made.addEventListener(type, listener);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((c) => c !== null && c !== undefined));
  return made;
}

/** Set an element's text, only when it differs, so that screen readers are left in peace. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Say what is wrong, or with null that nothing is. */
export function showProblem(element, error) {
  element.hidden = !error;
  setText(element, error ? error.message : "");
}

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
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 12 12");
  svg.setAttribute("aria-hidden", "true");
  const mark = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [name, value] of [["width", 12], ["height", 12], ["rx", 3], ["fill", `var(--ink-${ink})`]]) mark.setAttribute(name, value);
  svg.append(mark);
  return el("li", {}, svg, el("span", { text }));
}
