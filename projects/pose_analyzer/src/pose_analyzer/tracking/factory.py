"""Trackers by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from pose_analyzer.tracking.base import Tracker
from pose_analyzer.tracking.botsort import BotSortTracker
from pose_analyzer.tracking.bytetrack import ByteTracker
from pose_analyzer.tracking.configured import ConfiguredTracker
from pose_analyzer.tracking.deepsort import DeepSortTracker
from pose_analyzer.tracking.oks import OksTracker
from pose_analyzer.tracking.settings import build_config, load_config
from shared_utils.errors import ConfigError

TrackerName = Literal["bytetrack", "botsort", "deepsort", "oks"]


def create_tracker(name: TrackerName, *, config: str | Path | None = None, **options: Any) -> Tracker:
    """A tracker for one stream.

    Args:
        name: "oks" (poses, box and looks; the best for people who are fully seen), "botsort" (boxes, camera motion and looks),
            "deepsort" (looks first) or "bytetrack" (boxes alone, the cheapest).
        config: YAML with the tracker's settings under ultralytics' key names; default the tracker's own values.
        **options: Single settings, above those of the file; the fields of `ByteTrackConfig`, `BotSortConfig`, `DeepSortConfig`
            or `OksConfig`.

    Raises:
        ConfigError: The name, the file or a setting is wrong; the text says what there is.
        ModelError: The network for looks is not there.

    Example:
        >>> create_tracker("oks", track_buffer=45).config.lost_budget_s
        1.5
    """
    kinds: dict[str, type[ConfiguredTracker[Any]]] = {
        kind.name: kind for kind in (ByteTracker, BotSortTracker, DeepSortTracker, OksTracker)
    }
    if name not in kinds:
        raise ConfigError(f"there is no tracker {name!r}; there are {', '.join(get_args(TrackerName))}")
    kind = kinds[name]
    chosen = build_config(kind.settings_type, options, name) if config is None else load_config(kind.settings_type, config, name, options)
    return kind(chosen)
