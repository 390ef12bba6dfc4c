// The skeleton on the picture: limbs by side, confidence as opacity, joint angles as arcs with degrees.

import { jointArc, jointOf, keypointsOf, project } from "./geometry.js";

// The same hues as in the overlay videos that the product writes.
export const COLOURS = { left: "#ff922b", right: "#4dabf7", middle: "#f1f3f5", fault: "#ff2d6f" };
const SHADE = "rgba(6, 10, 15, 0.72)";
const LEAST = 0.3;
const HIDDEN = /eye|mouth|ear|pinky|thumb|index_finger/;

/** What to draw of a skeleton: bones and points with their side, worked out once. */
export function plan(skeleton) {
  const index = new Map(skeleton.keypoints.map((name, i) => [name, i]));
  const side = (name) => (skeleton.left?.includes(name) || name.startsWith("left_") ? "left" : skeleton.right?.includes(name) || name.startsWith("right_") ? "right" : "middle");
  const shown = (name) => !HIDDEN.test(name) && !/(left|right)_index$/.test(name);
  const named = (end) => (typeof end === "number" ? skeleton.keypoints[end] : end);
  const bones = skeleton.edges
    .map(([a, b]) => [named(a), named(b)])
    .filter(([a, b]) => shown(a) && shown(b))
    .map(([a, b]) => ({ a: index.get(a), b: index.get(b), side: side(a) === side(b) ? side(a) : "middle" }));
  const points = skeleton.keypoints.filter(shown).map((name) => ({ at: index.get(name), side: side(name), name }));
  return { index, names: skeleton.keypoints, bones, points };
}

/**
 * Draw everybody.
 * @param {CanvasRenderingContext2D} context
 * @param {object} placed from `fit`, in device px
 * @param {object[]} people of a frame message
 * @param {{plan: object, joints: string[], selected: number|null, ratio: number, labels: boolean, marks?: Map<number, Set<string>>}} options
 *   marks: keypoints that form feedback names, by person
 */
export function drawPeople(context, placed, people, { plan: how, joints, selected, ratio, labels, marks = null }) {
  const taken = [];
  const order = [...people].sort((a, b) => (a.track_id === selected) - (b.track_id === selected));
  const several = people.filter((p) => p.track_id >= 0).length > 1;
  for (const person of order) {
    const isChosen = person.track_id === selected || people.length === 1;
    const spots = person.keypoints.map((k) => (k && k[2] >= LEAST ? { ...project(placed, k[0], k[1]), confidence: k[2] } : null));
    const height = heightOf(person) * placed.scale;
    const weight = Math.max(1.6 * ratio, Math.min(height / 85, 5 * ratio));
    context.save();
    context.globalAlpha = isChosen ? 1 : 0.55;
    drawBones(context, how, spots, isChosen ? weight : weight * 0.75);
    const named = marks?.get(person.track_id);
    if (named) drawFault(context, how, spots, named, weight);
    if (labels && isChosen) drawArcs(context, how, spots, person, { joints, ratio, height, taken, placed });
    if (several && person.track_id >= 0) drawTag(context, how, spots, person, ratio, isChosen);
    context.restore();
  }
}

function drawBones(context, how, spots, weight) {
  const base = context.globalAlpha;
  context.lineCap = "round";
  for (const pass of ["shade", "colour"]) {
    for (const bone of how.bones) {
      const [a, b] = [spots[bone.a], spots[bone.b]];
      if (!a || !b) continue;
      context.globalAlpha = base * opacity(Math.min(a.confidence, b.confidence)) * (pass === "shade" ? 0.55 : 1);
      context.strokeStyle = pass === "shade" ? SHADE : COLOURS[bone.side];
      context.lineWidth = pass === "shade" ? weight * 1.9 : weight;
      context.beginPath();
      context.moveTo(a.x, a.y);
      context.lineTo(b.x, b.y);
      context.stroke();
    }
  }
  for (const { at, side } of how.points) {
    const spot = spots[at];
    if (!spot) continue;
    context.globalAlpha = base * opacity(spot.confidence);
    context.beginPath();
    context.arc(spot.x, spot.y, weight * 1.15, 0, 2 * Math.PI);
    context.fillStyle = "#0b1016";
    context.fill();
    context.lineWidth = weight * 0.62;
    context.strokeStyle = COLOURS[side];
    context.stroke();
  }
  context.globalAlpha = base;
}

/** Bones and joints that form feedback names: brighter and broader than the rest, with a halo. */
function drawFault(context, how, spots, named, weight) {
  const isNamed = (at) => named.has(how.names[at]);
  context.save();
  context.lineCap = "round";
  context.strokeStyle = COLOURS.fault;
  context.shadowColor = COLOURS.fault;
  context.shadowBlur = weight * 4;
  context.lineWidth = weight * 1.7;
  for (const { a, b } of how.bones) {
    if (!isNamed(a) || !isNamed(b) || !spots[a] || !spots[b]) continue;
    context.beginPath();
    context.moveTo(spots[a].x, spots[a].y);
    context.lineTo(spots[b].x, spots[b].y);
    context.stroke();
  }
  context.fillStyle = "#ffffff";
  context.lineWidth = weight * 0.9;
  for (const { at } of how.points) {
    if (!isNamed(at) || !spots[at]) continue;
    context.beginPath();
    context.arc(spots[at].x, spots[at].y, weight * 1.5, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
  }
  context.restore();
}

/** How tall a person is in the picture, px; from the points when the box is not known. */
function heightOf(person) {
  const tall = person.box[3] - person.box[1];
  if (tall > 0) return tall;
  const ys = person.keypoints.filter(Boolean).map((k) => k[1]);
  return ys.length ? Math.max(...ys) - Math.min(...ys) : 0;
}

/** Unsure points fade, but stay to be seen. */
function opacity(confidence) {
  return 0.2 + 0.8 * Math.min(1, Math.max(0, (confidence - LEAST) / (0.9 - LEAST)));
}

function drawArcs(context, how, spots, person, { joints, ratio, height, taken, placed }) {
  const middle = project(placed, (person.box[0] + person.box[2]) / 2, 0).x;
  const points = how.points.map(({ at }) => spots[at]).filter(Boolean);
  for (const joint of joints) {
    for (const side of ["left", "right"]) {
      const names = keypointsOf(joint, side);
      const value = person.angles?.[`${side}_${joint}_deg`];
      if (!names || typeof value !== "number") continue;
      const [from, at, to] = names.map((name) => spots[how.index.get(name) ?? (name.endsWith("foot_index") ? how.index.get(`${side}_big_toe`) : -1)]);
      if (!from || !at || !to) continue;
      const arc = jointArc(from, at, to);
      if (!arc) continue;
      const radius = Math.max(9 * ratio, Math.min(height * 0.06, 34 * ratio));
      drawArc(context, at, arc, radius, COLOURS[side], ratio);
      drawDegrees(context, degreesOf(value, person.angle_sigma?.[`${side}_${joint}_deg`]), at, arc, radius, { side, ratio, taken, middle, points });
    }
  }
}

/** A reading, with its error where that matters to who reads it. */
export function degreesOf(value, sigma) {
  const rounded = Math.round(value);
  return typeof sigma === "number" && sigma >= 5 ? `${rounded} ± ${Math.round(sigma)}°` : `${rounded}°`;
}

function drawArc(context, at, arc, radius, colour, ratio) {
  context.beginPath();
  context.moveTo(at.x, at.y);
  context.arc(at.x, at.y, radius, arc.start, arc.end, arc.anticlockwise);
  context.closePath();
  context.fillStyle = colour;
  context.save();
  context.globalAlpha *= 0.26;
  context.fill();
  context.restore();
  context.beginPath();
  context.arc(at.x, at.y, radius, arc.start, arc.end, arc.anticlockwise);
  context.strokeStyle = colour;
  context.lineWidth = 1.6 * ratio;
  context.stroke();
}

/** The number beside the joint, on the outer side of the body; left out where another number stands. */
function drawDegrees(context, text, at, arc, radius, { side, ratio, taken, middle, points }) {
  const size = 12.5 * ratio;
  context.font = `600 ${size}px ${FONT}`;
  const [width, tall] = [context.measureText(text).width + 10 * ratio, size + 6 * ratio];
  const outward = at.x < middle ? -1 : 1;
  const gap = radius + 6 * ratio;
  const places = [
    { x: at.x + outward * (gap + width / 2), y: at.y },
    { x: at.x + Math.cos(arc.middle) * (gap + width / 2), y: at.y + Math.sin(arc.middle) * (gap + tall / 2) },
    { x: at.x - outward * (gap + width / 2), y: at.y },
  ];
  const meets = (p, t) => Math.abs(t.x - p.x) < (t.width + width) / 2 && Math.abs(t.y - p.y) < (t.tall + tall) / 2;
  const free = places.filter((p) => !taken.some((t) => meets(p, t)));
  if (free.length === 0) return;
  // Of the free places the one that hides fewest points of the body.
  const hidden = (p) => points.filter((s) => meets(p, { x: s.x, y: s.y, width: 8 * ratio, tall: 8 * ratio })).length;
  const best = free.reduce((a, b) => (hidden(b) < hidden(a) ? b : a));
  taken.push({ ...best, width, tall });
  pill(context, best.x - width / 2, best.y - tall / 2, width, tall, SHADE);
  context.fillStyle = COLOURS[side];
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(text, best.x, best.y + 0.5 * ratio);
}

function drawTag(context, how, spots, person, ratio, isChosen) {
  const head = spots[how.index.get("nose")] ?? spots.find(Boolean);
  if (!head) return;
  const text = `Person ${person.track_id}`;
  const size = 12 * ratio;
  context.font = `600 ${size}px ${FONT}`;
  const width = context.measureText(text).width + 14 * ratio;
  const y = Math.max(4 * ratio, head.y - 46 * ratio);
  pill(context, head.x - width / 2, y, width, size + 8 * ratio, isChosen ? "#f1f3f5" : SHADE);
  context.fillStyle = isChosen ? "#0b1016" : "#f1f3f5";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(text, head.x, y + size / 2 + 4.5 * ratio);
}

function pill(context, x, y, width, height, colour) {
  context.beginPath();
  context.roundRect(x, y, width, height, height / 2);
  context.fillStyle = colour;
  context.fill();
}

export const FONT = 'Inter, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';

/** The people of a picture in one sentence, for those who hear the page. */
export function describePeople(people, joints) {
  if (people.length === 0) return "Live picture. Nobody is in view.";
  const first = people.find((p) => p.track_id >= 0) ?? people[0];
  const told = joints
    .map((joint) => {
      const values = ["left", "right"].map((side) => first.angles?.[`${side}_${joint}_deg`]).filter((v) => typeof v === "number");
      if (!values.length) return null;
      return `${jointOf(joint).replace(/_/g, " ")} ${Math.round(values.reduce((a, b) => a + b, 0) / values.length)} degrees`;
    })
    .filter(Boolean);
  const who = people.length === 1 ? "One person is in view" : `${people.length} people are in view`;
  return `Live picture with skeleton. ${who}${told.length ? `: ${told.join(", ")}` : ""}.`;
}
