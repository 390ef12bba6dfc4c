// Which view is shown, and the theme.

import { byId } from "../shared/js/dom.js";
import { themeButton } from "../shared/js/theme.js";
import { askInDialog, letDialogsBeCancelled } from "../shared/js/token-dialog.js";
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

askInDialog();
letDialogsBeCancelled();
themeButton(byId("theme"), () => VIEWS[current()].refresh());
addEventListener("hashchange", show);
show();
