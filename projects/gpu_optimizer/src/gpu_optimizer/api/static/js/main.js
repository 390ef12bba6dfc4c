// Which view is shown, and the theme.

import { byId } from "./dom.js";
import { refreshEstimate, startEstimate } from "./estimate.js";
import { LiveView } from "./live.js";
import { startPrices } from "./prices.js";
import { refreshSnapshots, startSnapshots } from "./snapshot.js";

const live = new LiveView();
const VIEWS = {
  live: { title: "Live", start: () => live.start(), refresh: () => live.draw() },
  estimate: { title: "Estimate", start: startEstimate, refresh: refreshEstimate },
  snapshots: { title: "Snapshots", start: startSnapshots, refresh: refreshSnapshots },
  prices: { title: "Prices", start: startPrices, refresh: () => {} },
};
const THEMES = ["auto", "dark", "light"];
const started = new Set();

function current() {
  const name = location.hash.replace(/^#\//, "");
  return name in VIEWS ? name : "live";
}

function show() {
  const name = current();
  for (const other of Object.keys(VIEWS)) byId(`view-${other}`).hidden = other !== name;
  for (const link of document.querySelectorAll(".tabs a")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${VIEWS[name].title} · GPU Optimizer`;
  if (!started.has(name)) {
    started.add(name);
    VIEWS[name].start();
  }
  VIEWS[name].refresh();
}

function setTheme(value) {
  document.documentElement.dataset.theme = value;
  byId("theme").setAttribute("aria-label", `Theme: ${value === "auto" ? "as the system" : value}`);
  VIEWS[current()].refresh();
}

byId("theme").addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
  try {
    localStorage.setItem("gpu-optimizer.theme", next);
  } catch {
    // Private windows may refuse; the choice then lasts as long as the page.
  }
  setTheme(next);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => VIEWS[current()].refresh());
addEventListener("hashchange", show);
show();
