"""The recogniser's network: descriptions of windows in, a probability per exercise out; trained with numpy, kept as JSON.

Standardised inputs, a mark for each that is missing, hidden layers of tanh units, softmax.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.errors import ExerciseError
from pose_analyzer.exercise.descriptor import QUANTITIES
from pose_analyzer.exercise.reference import find_reference_file

Array = NDArray[np.float64]

UNKNOWN = "unknown"
MODEL_FILE = "_recognizer.json"
_FORMAT = 2
# Standard deviations beyond which an input says no more.
_CLIP = 4.0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ExerciseModel:
    """The trained network.

    Args:
        labels: Exercises, "unknown" among them.
        mean, scale: (d,) of the descriptions.
        layers: (weights (n, m), bias (m,)) of each layer; the first has 2 d inputs, of which the second half says what is missing.
    """

    labels: tuple[str, ...]
    mean: Array
    scale: Array
    layers: tuple[tuple[Array, Array], ...]

    def inputs(self, descriptions: Array) -> Array:
        """(n, 2 d) standardised, what is missing set to the mean and marked."""
        missing = ~np.isfinite(descriptions)
        z = np.clip((np.where(missing, self.mean, descriptions) - self.mean) / self.scale, -_CLIP, _CLIP)
        return np.concatenate([z, missing.astype(np.float64)], axis=1)

    def probabilities(self, descriptions: Array) -> Array:
        """(n, labels) of (n, d) descriptions."""
        return _softmax(_forward(self.layers, self.inputs(descriptions))[-1])

    def save(self, path: str | Path) -> Path:
        """Write it as JSON, rounded to three decimals.

        Raises:
            ExerciseError: The file cannot be written.
        """
        layers = [{"weights": np.round(w, 3).tolist(), "bias": np.round(b, 3).tolist()} for w, b in self.layers]
        data = {"format": _FORMAT, "quantities": QUANTITIES, "labels": self.labels, "layers": layers}
        data |= {"mean": np.round(self.mean, 4).tolist(), "scale": np.round(self.scale, 4).tolist()}
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
        return _loaded(found, found.stat().st_mtime_ns)
    except (OSError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, ExerciseError):
            raise
        raise ExerciseError(f"{found.name} is not a model of the recogniser: {error!r}") from error


@cache
def _loaded(path: Path, mtime_ns: int) -> ExerciseModel:
    data = json.loads(path.read_text(encoding="utf-8"))
    if data["format"] != _FORMAT or tuple(data["quantities"]) != QUANTITIES:
        raise ExerciseError(f"{path.name}: a model of another version; train it again")
    layers = tuple((np.array(layer["weights"], np.float64), np.array(layer["bias"], np.float64)) for layer in data["layers"])
    mean, scale = np.array(data["mean"], np.float64), np.array(data["scale"], np.float64)
    return ExerciseModel(labels=tuple(data["labels"]), mean=mean, scale=scale, layers=layers)


def train_model(
    descriptions: Array, labels: Sequence[str], *, hidden: Sequence[int] = (64, 32), epochs: int = 25, seed: int = 0
) -> ExerciseModel:
    """Train the network by Adam (Kingma and Ba 2015) on cross-entropy with weight decay.

    Every label weighs the same, however many windows it has, and "unknown" twice as much.

    Besides the windows as they are, it sees each a little changed, and with quantities taken away.

    Args:
        descriptions: (n, d).
        labels: n names.
        hidden: Units of the hidden layers.
        epochs: Passes over the data.
        seed: Of everything random.

    Raises:
        ExerciseError: There are fewer than two labels.
    """
    names = tuple(sorted({*labels, UNKNOWN}))
    if len(set(labels)) < 2:
        raise ExerciseError("training needs windows of two exercises at least")
    random = np.random.default_rng(seed)
    scale = np.maximum(np.nanstd(descriptions, axis=0), 1e-3)
    widths = (2 * descriptions.shape[1], *hidden, len(names))
    layers = tuple((random.normal(0, 1 / math.sqrt(n / 2), (n, m)), np.zeros(m)) for n, m in pairwise(widths))
    model = ExerciseModel(labels=names, mean=np.nanmean(descriptions, axis=0), scale=scale, layers=layers)
    x, y = model.inputs(descriptions), np.array([names.index(label) for label in labels])
    share = np.where(y == names.index(UNKNOWN), 2.0, 1.0) / np.bincount(y, minlength=len(names))[y]
    weights = [w for layer in layers for w in layer]
    first, second = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    step, steps = 0, epochs * max(1, len(y) // 256)
    for _ in range(epochs):
        order = random.choice(len(y), len(y), p=share / share.sum())
        for batch in np.array_split(order, max(1, len(order) // 256)):
            step += 1
            rate = 3e-3 * 0.5 * (1.0 + math.cos(math.pi * step / (steps + 1)))
            for w, g, m, v in zip(weights, _gradients(layers, _varied(x[batch], random), y[batch]), first, second, strict=True):
                g = g + 1e-4 * w
                m += 0.1 * (g - m)
                v += 0.001 * (g * g - v)
                w -= rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
    return model


def _varied(x: Array, random: np.random.Generator) -> Array:
    """Inputs with some taken away, and a little changed."""
    d = x.shape[1] // 2
    missing = (x[:, d:] > 0) | (random.random((len(x), d)) < random.choice([0.0, 0.05, 0.15], (len(x), 1)))
    z = np.where(missing, 0.0, x[:, :d] + random.normal(0.0, 0.1, (len(x), d)))
    return np.concatenate([z, missing.astype(np.float64)], axis=1)


def _forward(layers: Sequence[tuple[Array, Array]], x: Array) -> list[Array]:
    """Inputs of every layer, and what the last one gives."""
    values = [x]
    for i, (w, b) in enumerate(layers):
        z = values[-1] @ w + b
        values.append(z if i == len(layers) - 1 else np.tanh(z))
    return values


def _gradients(layers: Sequence[tuple[Array, Array]], x: Array, y: NDArray[np.intp]) -> list[Array]:
    *values, z = _forward(layers, x)
    d = _softmax(z)
    d[np.arange(len(y)), y] -= 1.0
    d /= len(y)
    out: list[Array] = []
    for (w, _), value in zip(reversed(layers), reversed(values), strict=True):
        out = [value.T @ d, d.sum(0), *out]
        d = (d @ w.T) * (1.0 - value * value)
    return out


def _softmax(z: Array) -> Array:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)
