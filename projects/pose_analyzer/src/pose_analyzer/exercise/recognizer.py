"""Which exercise somebody does, live: `ExerciseRecognizer`, a small network over what the last seconds looked like.

A *descriptor* says how low, how usual and how high each of a handful of quantities was within a window of three seconds: joint angles of
the picture, free of left and right, and heights in trunk lengths. A network of one hidden layer (softmax regression on tanh units),
trained on athletes without pictures by `pose-analyzer reference train`, gives each window a probability per exercise. The label is
the exercise whose mean probability over the last windows is clear; everything else is "unknown", and so are walking, gesturing, standing,
and mixtures of exercises, which the network was trained to call so.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.errors import ExerciseError
from pose_analyzer.exercise.features import FORM_FEATURES, SIDES, Array, form_features
from pose_analyzer.exercise.reference import find_reference_file
from shared_utils.data_models import Poses
from shared_utils.errors import ValidationError

UNKNOWN = "unknown"
MODEL_FILE = "_recognizer.json"
WINDOW_S = 3.0
STEP_S = 0.25
# A window is described once it covers this much.
_LEAST_S = 1.5
_LEAST_FRAMES = 8
_MEMORY_S = 3.0
_QUANTILES = (5, 50, 95)

_PAIRED = ("knee_flexion", "hip_flexion", "elbow_flexion", "shoulder_elevation", "shank_lean")
_HEIGHTS = ("wrist", "elbow", "knee", "ankle")
QUANTITIES: tuple[str, ...] = (
    *(f"{which}_{name}" for name in _PAIRED for which in ("least", "most")),
    "trunk_lean",
    "elbow_difference",
    "shoulder_difference",
    *(f"{name}_height" for name in _HEIGHTS),
    "ankle_spread",
    "wrist_spread",
)
"""What a descriptor speaks of, in degrees or trunk lengths."""


def quantities(poses: Poses, *, min_confidence: float = 0.5) -> Array:
    """(n, q) `QUANTITIES` of everybody in one frame; NaN = no reading."""
    features = form_features(poses, min_confidence=min_confidence)
    pairs = [features[:, [FORM_FEATURES.index(f"{s}_{name}") for s in SIDES]] for name in _PAIRED]
    columns = [reduce(pair, axis=1) for pair in pairs for reduce in (np.fmin.reduce, np.fmax.reduce)]
    columns.append(features[:, FORM_FEATURES.index("trunk_lean")])
    columns += [np.abs(features[:, FORM_FEATURES.index(f"{name}_difference")]) for name in ("elbow", "shoulder")]
    xy = np.where((poses.keypoint_confidence >= min_confidence)[..., None], poses.keypoints_xy, np.nan).astype(np.float64)
    pair_of = {name: xy[:, poses.skeleton.indices([f"{s}_{name}" for s in SIDES])] for name in ("shoulder", "hip", *_HEIGHTS)}
    middle = {name: np.stack([_mean_of(p[..., 0]), _mean_of(p[..., 1])], axis=1) for name, p in pair_of.items()}
    trunk = np.linalg.norm(middle["shoulder"] - middle["hip"], axis=1)
    breadth = np.linalg.norm(pair_of["shoulder"][:, 0] - pair_of["shoulder"][:, 1], axis=1)
    # A trunk that points at the camera is short; the shoulders' breadth (0.230 to 0.288 of stature) is seen then.
    unit = np.fmax(np.where(trunk > 2.0, trunk, np.nan), breadth * 0.288 / 0.230)
    columns += [(middle["shoulder"][:, 1] - middle[name][:, 1]) / unit for name in _HEIGHTS]
    columns += [np.linalg.norm(pair_of[name][:, 0] - pair_of[name][:, 1], axis=1) / unit for name in ("ankle", "wrist")]
    return np.stack(columns, axis=1)


def descriptor(window: Array) -> Array:
    """(3 q,) quantiles of a window of (t, q) quantities; NaN where a quantity was seen in less than half of the frames."""
    seen = np.isfinite(window).mean(0) >= 0.5
    out = np.full((len(_QUANTILES), window.shape[1]), np.nan)
    if seen.any():
        out[:, seen] = np.nanpercentile(window[:, seen], _QUANTILES, axis=0)
    return out.ravel()


def windows_of(values: Array, times_s: Array) -> list[Array]:
    """Descriptors of a recording of (t, q) quantities, as the live recogniser would make them."""
    memory, out = _Memory(), []
    for time_s, row in zip(times_s.tolist(), values, strict=True):
        d = memory.add(time_s, row)
        if d is not None:
            out.append(d)
    return out


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ExerciseModel:
    """The trained network.

    Args:
        labels: Exercises, "unknown" among them.
        mean, scale: (3 q,) of the descriptors.
        hidden, hidden_bias: (6 q, h) and (h,); the second half of the inputs says what is missing.
        output, output_bias: (h, labels) and (labels,).
    """

    labels: tuple[str, ...]
    mean: Array
    scale: Array
    hidden: Array
    hidden_bias: Array
    output: Array
    output_bias: Array

    def inputs(self, descriptors: Array) -> Array:
        """(n, 6 q) standardised, what is missing set to the mean and marked."""
        missing = ~np.isfinite(descriptors)
        z = np.clip((np.where(missing, self.mean, descriptors) - self.mean) / self.scale, -4.0, 4.0)
        return np.concatenate([z, missing.astype(np.float64)], axis=1)

    def probabilities(self, descriptors: Array) -> Array:
        """(n, labels) of (n, 3 q) descriptors."""
        return _softmax(np.tanh(self.inputs(descriptors) @ self.hidden + self.hidden_bias) @ self.output + self.output_bias)

    def save(self, path: str | Path) -> Path:
        """Write it as JSON, rounded to four decimals.

        Raises:
            ExerciseError: The file cannot be written.
        """
        names = ("mean", "scale", "hidden", "hidden_bias", "output", "output_bias")
        data = {"format": 1, "quantities": QUANTITIES, "labels": self.labels} | {n: np.round(getattr(self, n), 3).tolist() for n in names}
        try:
            Path(path).write_text(json.dumps(data, separators=(",", ":")) + "\n", encoding="utf-8")
        except OSError as error:
            raise ExerciseError(f"the recogniser cannot be written to {path}: {error.strerror or error}") from error
        return Path(path)


def load_model(path: str | Path | None = None) -> ExerciseModel:
    """The model of that file, or the one that lies with the references.

    Raises:
        ExerciseError: There is none, or the file is no model.
    """
    found = Path(path) if path is not None else find_reference_file(MODEL_FILE)
    if found is None:
        raise ExerciseError("there is no model of the recogniser; `pose-analyzer reference train` makes one")
    try:
        stat = found.stat()
        return _loaded(found, stat.st_mtime_ns)
    except (OSError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, ExerciseError):
            raise
        raise ExerciseError(f"{found.name} is not a model of the recogniser: {error!r}") from error


@cache
def _loaded(path: Path, mtime_ns: int) -> ExerciseModel:
    data = json.loads(path.read_text(encoding="utf-8"))
    if data["format"] != 1 or tuple(data["quantities"]) != QUANTITIES:
        raise ExerciseError(f"{path.name}: a model of another version; train it again")
    arrays = {n: np.array(data[n], np.float64) for n in ("mean", "scale", "hidden", "hidden_bias", "output", "output_bias")}
    return ExerciseModel(labels=tuple(data["labels"]), **arrays)


def train_model(descriptors: Array, labels: Sequence[str], *, hidden: int = 48, epochs: int = 25, seed: int = 0) -> ExerciseModel:
    """Train the network by Adam (Kingma and Ba 2015) on cross-entropy with weight decay.

    Besides the windows as they are, it sees each with quantities taken away, as where legs are out of the picture, and mixtures of
    windows of different exercises, which it has to call unknown.

    Args:
        descriptors: (n, 3 q).
        labels: n names.
        hidden: Units of the hidden layer.
        epochs: Passes over the data.
        seed: Of everything random.

    Raises:
        ExerciseError: There are fewer than two labels.
    """
    names = tuple(sorted({*labels, UNKNOWN}))
    if len(set(labels)) < 2:
        raise ExerciseError("training needs windows of two exercises at least")
    random = np.random.default_rng(seed)
    mean, scale = np.nanmean(descriptors, axis=0), np.maximum(np.nanstd(descriptors, axis=0), 1e-3)
    width = 2 * descriptors.shape[1]
    model = ExerciseModel(
        labels=names,
        mean=mean,
        scale=scale,
        hidden=random.normal(0, 1 / math.sqrt(width / 2), (width, hidden)),
        hidden_bias=np.zeros(hidden),
        output=random.normal(0, 1 / math.sqrt(hidden), (hidden, len(names))),
        output_bias=np.zeros(len(names)),
    )
    target = np.array([names.index(label) for label in labels])
    weights = [model.hidden, model.hidden_bias, model.output, model.output_bias]
    first, second, step = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights], 0
    share = 1.0 / np.maximum(np.bincount(target, minlength=len(names)), 1)
    for _ in range(epochs):
        order = random.choice(len(target), len(target), p=share[target] / share[target].sum())
        for batch in np.array_split(order, max(1, len(order) // 256)):
            x, y = _augmented(descriptors[batch], target[batch], names, random)
            gradients = _gradients(model, model.inputs(x), y)
            step += 1
            for w, g, m, v in zip(weights, gradients, first, second, strict=True):
                g = g + 1e-4 * w
                m += 0.1 * (g - m)
                v += 0.001 * (g * g - v)
                w -= 3e-3 * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
    return model


class ExerciseRecognizer:
    """Tells what everybody in one stream is doing.

    Args:
        model: Trained network; default the one that lies with the references.
        least_probability: Mean probability that a label needs, 0..1. Default 0.6.

    Raises:
        ExerciseError: There is no model.
        ValidationError: `least_probability` lies outside 0..1.

    Example:
        >>> from shared_utils.skeletons import BLAZEPOSE_33
        >>> recognizer = ExerciseRecognizer()
        >>> recognizer.update(Poses.empty(BLAZEPOSE_33), timestamp_s=0.0), recognizer.label(1)
        ({}, 'unknown')
    """

    def __init__(self, model: ExerciseModel | None = None, *, least_probability: float = 0.6) -> None:
        if not 0 <= least_probability <= 1:
            raise ValidationError(f"least_probability must lie in 0..1, got {least_probability}")
        self.model = model if model is not None else load_model()
        self._least = least_probability
        self._memories: dict[int, _Memory] = {}
        self._recent: dict[int, deque[tuple[float, Array]]] = {}
        self._total: dict[int, Array] = {}
        self._last_s = -math.inf

    def update(self, poses: Poses, *, timestamp_s: float) -> dict[int, str]:
        """Take in a frame; track id -> what that person is doing now, or "unknown".

        Args:
            poses: Tracked, smoothed people; rows of track -1 are ignored.
            timestamp_s: Media clock. A frame not later than the last changes nothing; one a second or more back starts anew.

        Raises:
            ValidationError: `timestamp_s` is not finite.
        """
        if not math.isfinite(timestamp_s):
            raise ValidationError(f"timestamp_s must be finite, got {timestamp_s}")
        if timestamp_s < self._last_s - 1.0:
            self._memories.clear()
            self._recent.clear()
            self._total.clear()
        rows = np.flatnonzero(poses.track_ids >= 0)
        tracks = [int(t) for t in poses.track_ids[rows]]
        if len(rows) and (timestamp_s > self._last_s or not self._memories):
            for track_id, row in zip(tracks, quantities(poses[rows]), strict=True):
                self._look(track_id, row, timestamp_s)
        self._last_s = timestamp_s
        return {t: self.label(t) for t in tracks}

    def label(self, track_id: int) -> str:
        """What a person is doing now."""
        recent = self._recent.get(track_id)
        return self._best(np.mean([p for _, p in recent], axis=0)) if recent else UNKNOWN

    def overall(self, track_id: int) -> str:
        """What a person has mostly been doing since the beginning: the label for a whole clip."""
        total = self._total.get(track_id)
        if total is None:
            return UNKNOWN
        known = np.where(np.array(self.model.labels) == UNKNOWN, 0.0, total)
        # Rests, walks to the camera and the like do not speak against an exercise.
        return self.model.labels[int(known.argmax())] if known.max() >= 0.3 * total.sum() else UNKNOWN

    def _best(self, probabilities: Array) -> str:
        best = int(probabilities.argmax())
        return self.model.labels[best] if probabilities[best] >= self._least else UNKNOWN

    def _look(self, track_id: int, row: Array, time_s: float) -> None:
        found = self._memories.setdefault(track_id, _Memory()).add(time_s, row)
        if found is None:
            return
        p = self.model.probabilities(found[None])[0]
        recent = self._recent.setdefault(track_id, deque())
        recent.append((time_s, p))
        while recent[0][0] < time_s - _MEMORY_S:
            recent.popleft()
        self._total[track_id] = self._total.get(track_id, np.zeros(len(p))) + p


class _Memory:
    """The last seconds of one person, and when they were described last."""

    def __init__(self) -> None:
        self._rows: deque[tuple[float, Array]] = deque()
        self._described_s = -math.inf

    def add(self, time_s: float, row: Array) -> Array | None:
        if self._rows and time_s - self._rows[-1][0] > 1.0:
            self._rows.clear()
        self._rows.append((time_s, row))
        while self._rows[0][0] < time_s - WINDOW_S:
            self._rows.popleft()
        covered = time_s - self._rows[0][0] >= _LEAST_S and len(self._rows) >= _LEAST_FRAMES
        if not covered or time_s < self._described_s + STEP_S:
            return None
        self._described_s = time_s
        return descriptor(np.stack([r for _, r in self._rows]))


# The arms may be anywhere in these: forward, on the hips, at a bar, behind the head.
_ARMS_FREE = ("squat", "lunge", "sit_up")


def _augmented(x: Array, y: NDArray[np.intp], names: Sequence[str], random: np.random.Generator) -> tuple[Array, NDArray[np.intp]]:
    """Windows as other people, pictures and cameras may give them, and mixtures that are no exercise."""
    x = x.copy().reshape(len(x), len(_QUANTILES), -1)
    quantity = np.arange(x.shape[2])
    legs = np.isin(quantity, [i for i, n in enumerate(QUANTITIES) if "knee" in n or "shank" in n or "ankle" in n])
    arms = np.isin(quantity, [i for i, n in enumerate(QUANTITIES) if "elbow" in n or "shoulder" in n or "wrist" in n])
    other = random.permutation(len(x))
    free = np.isin(y, [i for i, n in enumerate(names) if n in _ARMS_FREE])
    elsewhere = free & (random.random(len(x)) < 0.7)
    x = np.where(elsewhere[:, None, None] & arms, x[other], x)
    x[(random.random(len(x)) < 0.25)[:, None, None] & legs & np.ones_like(x, bool)] = np.nan
    x[np.broadcast_to(random.random((len(x), 1, x.shape[2])) < 0.08, x.shape)] = np.nan
    mixed = np.where(random.random((len(x), 1, x.shape[2])) < 0.5, x, x[other])
    few = np.flatnonzero((y != y[other]) & ~free & ~free[other] & (random.random(len(x)) < 0.10))
    x = np.concatenate([x + random.normal(0, 1, x.shape) * _jitter(), mixed[few]])
    return x.reshape(len(x), -1), np.concatenate([y, np.full(len(few), names.index(UNKNOWN))])


@cache
def _jitter() -> Array:
    """(q,) how far other people, cameras and detectors may be from the athlete: 4 degrees, a twentieth of a trunk."""
    return np.array([0.05 if n.endswith(("_height", "_spread")) else 4.0 for n in QUANTITIES])


def _gradients(model: ExerciseModel, x: Array, y: NDArray[np.intp]) -> list[Array]:
    h = np.tanh(x @ model.hidden + model.hidden_bias)
    d = _softmax(h @ model.output + model.output_bias)
    d[np.arange(len(y)), y] -= 1.0
    d /= len(y)
    back = (d @ model.output.T) * (1.0 - h * h)
    return [x.T @ back, back.sum(0), h.T @ d, d.sum(0)]


def _softmax(z: Array) -> Array:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def _mean_of(pair: Array) -> Array:
    """(n,) mean of what is there."""
    left, right = pair[:, 0], pair[:, 1]
    return np.asarray(np.where(np.isfinite(left), np.where(np.isfinite(right), (left + right) / 2.0, left), right), np.float64)
