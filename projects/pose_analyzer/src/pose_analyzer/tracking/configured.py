"""What the trackers of this room share: settings in, the engine built from them, and the contract of `Tracker`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.tracking.appearance import Appearance, create_appearance
from pose_analyzer.tracking.engine import Engine, Rules
from pose_analyzer.tracking.reentry import ReEntry
from pose_analyzer.tracking.settings import LookingSettings, TrackerSettings, build_config, load_config
from shared_utils.data_models import Poses
from shared_utils.errors import ConfigError

C = TypeVar("C", bound=TrackerSettings)


class ConfiguredTracker(ABC, Generic[C]):
    """A `Tracker` made from its settings; what differs is the engine that `_build` makes of them.

    Args:
        config: Settings as an object; or give them by keyword:
        appearance: Describer of looks instead of the one that the settings name.
        **settings: The fields of `settings_type`.

    Raises:
        ConfigError: A setting is unknown or out of range, both forms are given, or looks are given to a tracker of boxes alone.
        ModelError: The network for looks is not there.
    """

    name: ClassVar[str]
    """As in `create_tracker` and in the files' `tracker_type`."""
    settings_type: ClassVar[type[TrackerSettings]]

    def __init__(self, config: C | None = None, *, appearance: Appearance | None = None, **settings: Any) -> None:
        if config is not None and settings:
            raise ConfigError(f"give {type(self).__name__} either a config or settings by keyword, not both")
        self.config: C = config or build_config(self.settings_type, settings, type(self).__name__)  # type: ignore[assignment]
        looks = None
        if isinstance(self.config, LookingSettings):
            looks = (appearance or create_appearance(self.config.model)) if self.config.with_reid else None
        elif appearance is not None:
            raise ConfigError(f"{type(self).__name__} does not look at people; give no appearance")
        self._engine = self._build(looks)

    @abstractmethod
    def _build(self, looks: Appearance | None) -> Engine:
        """The engine for `config`."""

    def _rules(self, **more: Any) -> Rules:
        """What the settings say to the engine, and `more` of its rules."""
        config = self.config
        if isinstance(config, LookingSettings):
            more = {
                "gmc_method": config.gmc_method,
                "reentry_s": config.reentry_s,
                "min_similarity": config.appearance_thresh,
                "min_margin": config.reentry_margin,
                **more,
            }
        return Rules(start_score=config.start_score, lost_s=config.lost_budget_s, **more)

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """A tracker with the settings of a YAML file in ultralytics' form.

        Args:
            path: Keys are those of the settings, all optional; `tracker_type`, if given, is this tracker's name.

        Raises:
            ConfigError: The file cannot be read, or a key is unknown (the text names the nearest) or its value
                out of range.
        """
        return cls(load_config(cls.settings_type, path, cls.name))  # type: ignore[arg-type]

    @property
    def reentries(self) -> tuple[ReEntry, ...]:
        """Everybody who came back so far, with the lead over the second best."""
        return tuple(self._engine.reentries)

    def reset(self) -> None:
        """Forget everybody and count from 1 again."""
        self._engine.reset()

    def update(self, poses: Poses, *, timestamp_s: float, image: NDArray[np.uint8] | None = None) -> Poses:
        """The same rows in the same order, ids added; see `Tracker.update`."""
        return self._engine.update(poses, timestamp_s, image)
