// Where things lie: how a picture is fitted into a box, and what an angle looks like at its joint.

/**
 * Fit a picture into a box, whole and centred.
 * @param {{width: number, height: number}} source size of the picture, px
 * @param {{width: number, height: number}} box size of the box, px
 * @param {boolean} mirror whether left and right are exchanged, as in a mirror
 * @returns {{scale: number, x: number, y: number, width: number, height: number, mirror: boolean, sourceWidth: number}}
 */
export function fit(source, box, mirror = false) {
  const usable = source.width > 0 && source.height > 0;
  const scale = usable ? Math.min(box.width / source.width, box.height / source.height) : 0;
  const width = source.width * scale;
  const height = source.height * scale;
  return { scale, x: (box.width - width) / 2, y: (box.height - height) / 2, width, height, mirror, sourceWidth: source.width };
}

/** A point of the picture as a point of the box. */
export function project(placed, x, y) {
  const across = placed.mirror ? placed.sourceWidth - x : x;
  return { x: placed.x + across * placed.scale, y: placed.y + y * placed.scale };
}

/** The inverse of `project`. */
export function unproject(placed, x, y) {
  const across = (x - placed.x) / placed.scale;
  return { x: placed.mirror ? placed.sourceWidth - across : across, y: (y - placed.y) / placed.scale };
}

/** Size of a drawing surface for a box in CSS px at a device pixel ratio: whole pixels, never nothing. */
export function surfaceSize(cssWidth, cssHeight, ratio) {
  return { width: Math.max(1, Math.round(cssWidth * ratio)), height: Math.max(1, Math.round(cssHeight * ratio)) };
}

/**
 * The arc between two limbs that meet in a joint, the short way round.
 * @returns {{start: number, end: number, anticlockwise: boolean, middle: number}|null} angles of the canvas; null where a limb has no length
 */
export function jointArc(from, joint, to) {
  const a = { x: from.x - joint.x, y: from.y - joint.y };
  const b = { x: to.x - joint.x, y: to.y - joint.y };
  if (Math.hypot(a.x, a.y) < 1e-6 || Math.hypot(b.x, b.y) < 1e-6) return null;
  const start = Math.atan2(a.y, a.x);
  const end = Math.atan2(b.y, b.x);
  let turn = end - start;
  while (turn <= -Math.PI) turn += 2 * Math.PI;
  while (turn > Math.PI) turn -= 2 * Math.PI;
  return { start, end, anticlockwise: turn < 0, middle: start + turn / 2 };
}

// Which keypoints make which angle; the flexion told is 180 degrees minus the angle drawn.
const JOINTS = {
  knee_flexion: ["hip", "knee", "ankle"],
  hip_flexion: ["shoulder", "hip", "knee"],
  elbow_flexion: ["shoulder", "elbow", "wrist"],
  shoulder_elevation: ["elbow", "shoulder", "hip"],
  ankle_dorsiflexion: ["knee", "ankle", "foot_index"],
};
const FOLDS = { leg_fold: "knee_flexion", arm_fold: "elbow_flexion" };

/** The joint of an angle's name, without side, space and unit: `left_knee_flexion_deg` is `knee_flexion`. */
export function jointOf(name) {
  return name.replace(/^(left|right)_/, "").replace(/_deg$/, "").replace(/_3d$/, "");
}

/** The side of an angle's or keypoint's name: "left", "right" or "middle". */
export function sideOf(name) {
  return name.startsWith("left_") ? "left" : name.startsWith("right_") ? "right" : "middle";
}

/** Keypoint names [end, joint, end] of one side's angle; null where it is no angle between two limbs. */
export function keypointsOf(joint, side) {
  const parts = JOINTS[joint];
  return parts ? parts.map((part) => `${side}_${part}`) : null;
}

/**
 * The joints that an exercise is about, most telling first.
 * @param {object|null} profile as GET /v1/exercises/{name} tells it, or null
 * @param {string|null} signal the joint that the stream names, if any
 */
export function jointsOf(profile, signal = null) {
  const named = [signal, ...(profile?.cues ?? []).map((c) => c.angle), ...(profile?.limits ?? []).map((l) => l.angle)];
  const joints = named.filter(Boolean).map(jointOf).map((joint) => FOLDS[joint] ?? joint);
  const wanted = [...new Set(joints)];
  for (const other of ["knee_flexion", "hip_flexion", "elbow_flexion"]) {
    if (wanted.length < (named.some(Boolean) ? 2 : 3) && !wanted.includes(other)) wanted.push(other);
  }
  return wanted.slice(0, 3);
}

/** A joint in words: `knee_flexion` is "Knee flexion". */
export function jointTitle(joint) {
  const words = joint.replace(/_/g, " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
