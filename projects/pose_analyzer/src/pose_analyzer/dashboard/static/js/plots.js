// The replay's plot. plotly.js is large, so it is loaded only when a replay is opened.

import { el } from "../shared/js/dom.js";
import { jointTitle } from "./geometry.js";
import { counts, isRepetition, ordinalOf } from "./tempo.js";

const MAP_STYLE = "9f215cf04c5486422605d13261cb87401f4e7763b6296af81e98efbc0130da53";
let loading = null;

/** Load plotly.js once; rejects when the server has none. */
export function loadPlotly() {
  const version = document.documentElement.dataset.plotly;
  if (!version) return Promise.reject(new Error("This server has no plotly.js installed, so there is no plot."));
  loading ??= new Promise((resolve, reject) => {
    // plotly.js brings a style sheet for maps, which this page has none of and whose policy refuses it; an element
    // of that sheet's id keeps it from being tried.
    document.head.append(el("meta", { id: MAP_STYLE }));
    const script = document.createElement("script");
    script.src = `/assets/plotly.min.js?v=${encodeURIComponent(version)}`;
    script.addEventListener("load", () => resolve(globalThis.Plotly));
    script.addEventListener("error", () => {
      loading = null;
      reject(new Error("The plot could not be loaded."));
    });
    document.head.append(script);
  });
  return loading;
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(name).trim();
  return {
    left: read("--left-ink"),
    right: read("--right-ink"),
    text: read("--text"),
    muted: read("--muted"),
    grid: read("--grid"),
    good: read("--good"),
    warn: read("--warn"),
    band: read("--band"),
    bandPartial: read("--band-partial"),
  };
}

function shapesOf(events, ink) {
  return events.filter(isRepetition).map((event) => ({
    type: "rect",
    xref: "x",
    yref: "paper",
    x0: event.start_s,
    x1: event.end_s,
    y0: 0,
    y1: 1,
    layer: "below",
    line: { width: 0 },
    fillcolor: counts(event) ? ink.band : ink.bandPartial,
  }));
}

function marksOf(events, ink) {
  return events.filter(isRepetition).map((event) => ({
    x: (event.start_s + event.end_s) / 2,
    y: 1,
    xref: "x",
    yref: "paper",
    yanchor: "bottom",
    text: String(ordinalOf(event) ?? "·"),
    showarrow: false,
    font: { size: 12, weight: 700, color: counts(event) ? ink.good : ink.warn },
  }));
}

/**
 * Draw angles over time with repetition marks.
 * @param {HTMLElement} box
 * @param {{times: number[], lines: {name: string, joint: string, side: string, values: (number|null)[]}[], joints: string[], events: object[]}} data
 * @param {(time: number) => void} onPick a place in the plot was clicked
 * @param {() => void} onDrawn it was drawn anew, for example in another size
 */
export async function drawPlot(box, { times, lines, joints, events }, onPick, onDrawn) {
  const plotly = await loadPlotly();
  const ink = colours();
  const rows = joints.length;
  const traces = lines.map((line) => ({
    type: "scatter",
    mode: "lines",
    x: times,
    y: line.values,
    name: line.side === "left" ? "Left" : line.side === "right" ? "Right" : "Both",
    line: { color: ink[line.side] ?? ink.text, width: 2 },
    connectgaps: false,
    yaxis: `y${joints.indexOf(line.joint) === 0 ? "" : joints.indexOf(line.joint) + 1}`,
    hovertemplate: "%{y:.0f}°",
    showlegend: false,
  }));
  const layout = {
    margin: { l: 58, r: 16, t: 26, b: 44 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: ink.muted },
    hovermode: "x unified",
    dragmode: "pan",
    grid: { rows, columns: 1 },
    xaxis: { title: { text: "time (s)" }, range: [times[0] ?? 0, times.at(-1) ?? 1], gridcolor: ink.grid, zeroline: false, anchor: rows === 1 ? "y" : `y${rows}` },
    shapes: shapesOf(events, ink),
    annotations: marksOf(events, ink),
  };
  joints.forEach((joint, i) => {
    const gap = 0.08;
    layout[`yaxis${i === 0 ? "" : i + 1}`] = {
      domain: [1 - (i + 1) / rows + (i === rows - 1 ? 0 : gap), 1 - i / rows],
      gridcolor: ink.grid,
      zeroline: false,
      ticksuffix: "°",
      fixedrange: true,
      nticks: 5,
      title: { text: jointTitle(joint), font: { size: 12, color: ink.text } },
    };
  });
  await plotly.react(box, traces, layout, { displaylogo: false, responsive: true, displayModeBar: false, scrollZoom: false });
  if (!box.dataset.listens) {
    box.dataset.listens = "yes";
    box.on("plotly_afterplot", onDrawn);
    box.addEventListener("click", (event) => {
      const time = timeAt(box, event.clientX);
      if (time !== null) onPick(time);
    });
  }
}

/** The x position of a time within the plot's box in CSS px; null when it lies outside of what is shown. */
export function positionOf(box, time) {
  const axis = box._fullLayout?.xaxis;
  if (!axis) return null;
  const x = axis.l2p(time);
  return x < -1 || x > axis._length + 1 ? null : axis._offset + x;
}

function timeAt(box, clientX) {
  const axis = box._fullLayout?.xaxis;
  if (!axis) return null;
  const x = clientX - box.getBoundingClientRect().left - axis._offset;
  return x < 0 || x > axis._length ? null : axis.p2l(x);
}

/** Take a plot down. */
export function dropPlot(box) {
  globalThis.Plotly?.purge(box);
}
