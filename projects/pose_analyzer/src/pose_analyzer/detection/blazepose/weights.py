"""Where BlazePose's two networks lie: inside the installed mediapipe wheel, found without importing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pose_analyzer.errors import DetectorError
from shared_utils.errors import ModelError
from shared_utils.models import file_sha256, find_model, list_models, verify

DETECTOR = "blazepose_detector"
LANDMARKS = "blazepose_landmark_full"


@dataclass(frozen=True, slots=True)
class Weights:
    """The files of one BlazePose.

    Args:
        detector: Person detector, 224 px input.
        landmarks: Landmark network, 256 px input.
        sha256: Name -> SHA-256 of both files.
    """

    detector: Path
    landmarks: Path
    sha256: Mapping[str, str]


def find_weights(landmarks: str | Path | None = None) -> Weights:
    """The two weight files, checked against the registry.

    Args:
        landmarks: Another landmark network: a name of the model registry (`"blazepose_landmark_lite"`,
            `"blazepose_landmark_heavy"`) or a `.tflite` file. Default: the full one.

    Raises:
        DetectorError: A file is missing or is not the expected one; the text holds the remedy.

    Example:
        >>> sorted(find_weights().sha256)
        ['blazepose_detector', 'blazepose_landmark_full']
    """
    name = landmarks or LANDMARKS
    known = {entry.name: entry for entry in list_models()}
    try:
        detector, path = find_model(DETECTOR), find_model(name)
        hashes = {DETECTOR: verify(detector, known[DETECTOR])}
        # A file of the user's own has no entry to be checked against; its hash still goes on record.
        entry = known.get(str(name))
        hashes[entry.name if entry else path.stem] = verify(path, entry) if entry else file_sha256(path)
    except ModelError as error:
        raise DetectorError(str(error)) from error
    return Weights(detector, path, MappingProxyType(hashes))
