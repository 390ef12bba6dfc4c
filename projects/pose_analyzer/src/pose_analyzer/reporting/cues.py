"""What form feedback names, for as long as it is shown in the picture: joints to colour and sentences to read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from shared_utils.data_models import Event, EventType

# As long as the page shows it.
_KEEP_S = 5.0
_MOST_SENTENCES = 3


class _Cue(NamedTuple):
    """One thing said of one person, until when."""

    track_id: int
    keypoints: tuple[str, ...]
    message: str
    until_s: float


class FormCues:
    """Remembers the `form_deviation` events of the last seconds of the media clock.

    Example:
        >>> cues = FormCues()
        >>> told = Event(EventType.FORM_DEVIATION, "cam", 1, 0.0, 2.0, message="Left knee caves in", data={"keypoints": ["left_knee"]})
        >>> cues.take([told], timestamp_s=2.1)
        >>> cues.marks(3.0), cues.sentences(3.0), cues.marks(9.0)
        ({1: {'left_knee'}}, ['Left knee caves in'], {})
    """

    def __init__(self) -> None:
        self._cues: list[_Cue] = []
        self._last_s = -math.inf

    def take(self, events: Iterable[Event], *, timestamp_s: float) -> None:
        """Take in what was told at a frame; a clock that runs backwards starts anew."""
        if timestamp_s < self._last_s:
            self._cues.clear()
        self._last_s = timestamp_s
        self._cues = [c for c in self._cues if c.until_s > timestamp_s]
        for event in events:
            if event.type == EventType.FORM_DEVIATION:
                names = tuple(str(name) for name in event.data.get("keypoints", ()))
                self._cues.append(_Cue(event.track_id, names, event.message, timestamp_s + _KEEP_S))

    def marks(self, timestamp_s: float) -> Mapping[int, set[str]]:
        """Track id -> names of the keypoints to colour."""
        out: dict[int, set[str]] = {}
        for cue in self._cues:
            if cue.until_s > timestamp_s and cue.keypoints:
                out.setdefault(cue.track_id, set()).update(cue.keypoints)
        return out

    def sentences(self, timestamp_s: float) -> list[str]:
        """What to read, the latest last; each once, without the figures of the reference."""
        said = (c.message.partition(";")[0] for c in self._cues if c.until_s > timestamp_s)
        return list(dict.fromkeys(s for s in said if s))[-_MOST_SENTENCES:]
