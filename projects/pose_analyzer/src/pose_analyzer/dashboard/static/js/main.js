// Puts the page together: views by address, settings, shortcuts. Opening it shows the demo at once.

import { byId, icon, showDialog } from "../shared/js/dom.js";
import { themeButton } from "../shared/js/theme.js";
import { askInDialog, letDialogsBeCancelled } from "../shared/js/token-dialog.js";
import { onKey, shortcuts } from "./keys.js";
import { Live } from "./live.js";
import { Replay } from "./replay.js";
import { Sessions } from "./sessions.js";
import { Exercises, Sources } from "./sources.js";

const go = (hash) => {
  if (location.hash !== hash) location.hash = hash;
};

askInDialog();

const exercises = new Exercises();
let sources = null;
const live = new Live({ exercises, onSourceChanged: (kind) => sources?.mark(kind) });
const sessions = new Sessions();
const replay = new Replay({ go });
sources = new Sources({ live, exercises, go });

// What a program in the page may use; form feedback shows its cues with it.
globalThis.poseAnalyzer = Object.freeze({ cues: live.cues });

// --- views --------------------------------------------------------------------------------------------

const VIEWS = { live: byId("view-live"), sessions: byId("view-sessions"), replay: byId("view-replay") };
let shown = null;

function route() {
  const [, place = "live", id = ""] = location.hash.split("/");
  const name = place === "sessions" ? (id ? "replay" : "sessions") : "live";
  const key = `${name}/${id}`;
  if (key === shown) return;
  const isFirst = shown === null;
  shown = key;
  for (const [other, section] of Object.entries(VIEWS)) section.hidden = other !== name;
  for (const tab of ["live", "sessions"]) {
    const isHere = tab === (name === "live" ? "live" : "sessions");
    if (isHere) byId(`tab-${tab}`).setAttribute("aria-current", "page");
    else byId(`tab-${tab}`).removeAttribute("aria-current");
  }
  document.title = { live: "Pose Analyzer", sessions: "Sessions · Pose Analyzer", replay: "Session · Pose Analyzer" }[name];
  if (name === "sessions") sessions.open();
  else sessions.close();
  if (name === "replay") replay.open(decodeURIComponent(id));
  else replay.close();
  // Nobody watches the live picture now; it comes back when they do.
  if (name === "live") resume();
  else if (live.source && live.link.kind !== "idle") pause();
  if (!isFirst) byId("main").focus({ preventScroll: true });
}

let paused = null;

function pause() {
  paused = live.source;
  live.stop();
}

function resume() {
  if (paused) {
    const source = paused;
    paused = null;
    live.start(source);
  } else if (!live.source) live.start(exercises.demoSource());
}

addEventListener("hashchange", route);

// --- settings -----------------------------------------------------------------------------------------

function showSound() {
  byId("sound").setAttribute("aria-pressed", String(live.sound.isOn));
  byId("sound").replaceChildren(icon(live.sound.isOn ? "sound" : "mute"));
}

function showVoice() {
  byId("voice").hidden = !live.voice.isThere;
  byId("voice").setAttribute("aria-pressed", String(live.voice.isOn));
}

const nextTheme = themeButton(byId("theme"), () => {
  live.strips.readColours();
  live.score.drawBars();
  replay.repaint();
});

const acts = {
  sound: () => {
    live.sound.toggle();
    showSound();
  },
  voice: () => {
    live.voice.toggle();
    showVoice();
  },
  help: () => showDialog(byId("help-dialog")),
  labels: () => byId("labels").setAttribute("aria-pressed", String(live.toggleLabels())),
  mirror: () => byId("mirror").setAttribute("aria-pressed", String(live.toggleMirror())),
  full: () => (document.fullscreenElement ? document.exitFullscreen() : byId("stage-box").requestFullscreen().catch(() => {})),
  stop: () => live.stop(),
  "events-csv": () => live.saveEvents(),
};
for (const [id, act] of Object.entries(acts)) byId(id).addEventListener("click", act);
letDialogsBeCancelled();
byId("labels").setAttribute("aria-pressed", String(live.stage.labels));
byId("keys-on").checked = shortcuts.on;
byId("keys-on").addEventListener("change", (event) => {
  shortcuts.on = event.target.checked;
});
showSound();
showVoice();

// --- shortcuts ----------------------------------------------------------------------------------------

const KEYS = {
  "?": acts.help,
  m: acts.sound,
  v: acts.voice,
  t: nextTheme,
  l: () => go("#/live"),
  s: () => go("#/sessions"),
};
const LIVE_KEYS = { p: () => live.nextPerson(), a: acts.labels, r: acts.mirror, f: acts.full };

onKey((event) => {
  const isLive = !VIEWS.live.hidden;
  if (!VIEWS.replay.hidden && replay.onKey(event)) return true;
  const act = KEYS[event.key] ?? (isLive ? LIVE_KEYS[event.key] : null);
  if (act) act();
  else if (/^[1-6]$/.test(event.key)) [...document.querySelectorAll("[data-source]:not([hidden])")][Number(event.key) - 1]?.click();
  return Boolean(act) || /^[1-6]$/.test(event.key);
});

// --- start --------------------------------------------------------------------------------------------

/** The lists of the server; asked for again until it answers. */
async function loadLists() {
  try {
    await exercises.load();
    if (live.source) exercises.show(live.source.exercise ?? live.exercise?.name ?? "");
    await sources.findFiles();
  } catch (error) {
    if (error.status === 0 || error.status >= 500) setTimeout(loadLists, 2000);
  }
}

route();
loadLists();
