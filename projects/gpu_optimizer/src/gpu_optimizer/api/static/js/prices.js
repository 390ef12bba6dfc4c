// Machines by the hour.

import { get } from "../shared/js/api.js";
import { byId, el, setText, showProblem } from "../shared/js/dom.js";
import { usd } from "./format.js";

let newest = 0;

/** Make the view work. */
export function startPrices() {
  const form = byId("price-form");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => load(form));
  load(form);
}

async function load(form) {
  const mine = ++newest;
  const fields = new FormData(form);
  const query = new URLSearchParams();
  if (fields.get("gpu").trim()) query.set("gpu", fields.get("gpu").trim());
  if (Number(fields.get("memory")) > 0) query.set("min_memory_gib", fields.get("memory"));
  if (fields.get("spot")) query.set("spot", "true");
  if (fields.get("old")) query.set("allow_old", "true");
  try {
    const found = await get(`/v1/prices?${query}`);
    if (mine !== newest) return;
    showProblem(byId("price-problem"), null);
    byId("price-notes").replaceChildren(...found.notes.map((note) => el("p", { text: note })));
    byId("prices").replaceChildren(...found.items.map(row));
    byId("prices-empty").hidden = found.items.length > 0;
    setText(byId("prices-empty"), found.items.length ? "" : "No price fits.");
  } catch (error) {
    if (mine !== newest) return;
    // What is no longer true is not left standing below the problem.
    for (const id of ["price-notes", "prices"]) byId(id).replaceChildren();
    byId("prices-empty").hidden = true;
    showProblem(byId("price-problem"), error);
  }
}

function row(price) {
  const gpu = price.gpus ? `${price.gpus > 1 ? `${price.gpus} × ` : ""}${price.gpu}` : "none";
  return el(
    "tr",
    {},
    el("td", {}, el("span", { text: `${price.provider} ${price.instance}` }), price.spot ? el("span", { text: " (spot)" }) : null),
    el("td", { class: "n", text: usd(price.usd_per_hour) }),
    el("td", { class: "fixed", text: gpu }),
    el("td", { class: "n", text: price.gpu_memory_gib ? `${price.gpu_memory_gib} GiB` : "–" }),
    el("td", { class: "dim", text: price.region || "–" }),
    el("td", { class: "dim fixed", text: price.date }),
    el("td", { class: "dim", text: price.source }),
  );
}
