"""Who is there: `person_entered` and `person_left` events from track ids."""

from __future__ import annotations

from collections.abc import Iterable

from shared_utils.data_models import Event, EventType, Frame


class PresenceAnalyzer:
    """Says when a track is first seen and when it has been gone for `leave_s`.

    Args:
        stream_id: Stream named in the events.
        leave_s: A person unseen for this long has left, seconds.

    Example:
        >>> import numpy as np
        >>> frame = Frame(np.zeros((2, 2, 3), np.uint8), index=0, timestamp_s=0.0)
        >>> [e.message for e in PresenceAnalyzer("cam").update([1], frame)]
        ['Person 1 came into view']
    """

    def __init__(self, stream_id: str, *, leave_s: float = 2.0) -> None:
        self._stream_id = stream_id
        self._leave_s = leave_s
        self._seen: dict[int, tuple[float, float, int]] = {}  # track id -> first s, last s, last frame

    def update(self, track_ids: Iterable[int], frame: Frame) -> list[Event]:
        """Note who is in this frame.

        Args:
            track_ids: Confirmed tracks of the frame.
            frame: The frame.
        """
        events: list[Event] = []
        now = frame.timestamp_s
        for track_id in track_ids:
            if track_id not in self._seen:
                events.append(
                    Event(
                        EventType.PERSON_ENTERED,
                        self._stream_id,
                        track_id,
                        now,
                        now,
                        frames=(frame.index,),
                        message=f"Person {track_id} came into view",
                    )
                )
            first = self._seen.get(track_id, (now, now, 0))[0]
            self._seen[track_id] = (first, now, frame.index)
        for track_id in [t for t, (_, last, _) in self._seen.items() if now - last > self._leave_s]:
            events.append(self._leave(track_id))
        return events

    def dismiss(self) -> list[Event]:
        """Nobody is followed any further, as after a gap: everybody has left when last seen."""
        return [self._leave(track_id) for track_id in list(self._seen)]

    def _leave(self, track_id: int) -> Event:
        first, last, index = self._seen.pop(track_id)
        return Event(
            EventType.PERSON_LEFT,
            self._stream_id,
            track_id,
            first,
            last,
            value=last - first,
            unit="s",
            frames=(index,),
            message=f"Person {track_id} left after {last - first:.1f} s",
        )

    @property
    def present(self) -> tuple[int, ...]:
        """Tracks that have not left yet."""
        return tuple(self._seen)

    def flush(self) -> list[Event]:
        """End of the stream: whoever is in view has not left, so there is nothing to say."""
        self._seen.clear()
        return []
