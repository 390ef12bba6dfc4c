"""Movement against a reference while it goes on: `TemporalAnalyzer` finds the reference in the stream of features.

Subsequence matching keeps one column of the warping matrix per person (SPRING: Sakurai, Faloutsos and Yamamuro 2007): the cheapest
way in which the reference can end at this frame, wherever it began. The row where that column is cheapest names the phase; when the
whole reference has been matched and the next frames only make it worse, the repetition is over. It is then warped again, inside
a Sakoe-Chiba band at common length, by dtaidistance's C routine; its distance per step of the path is compared with that of held-out
good repetitions.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass

import numpy as np

from pose_analyzer.exercise.build import STREAM_WINDOW
from pose_analyzer.exercise.dtw import align
from pose_analyzer.exercise.features import Array, facing, form_features, swapped
from pose_analyzer.exercise.profile import ExerciseProfile, load_profile
from pose_analyzer.exercise.recording import PHASE_OF_SAMPLE, SAMPLES
from pose_analyzer.exercise.reference import Reference, ReferenceView
from shared_utils.data_models import Event, EventType, Poses
from shared_utils.errors import ValidationError

# Of the distance of somebody who does not move, the share that an attempt at the movement stays under.
_OF_STILL = 0.7
# A match that takes a smaller share of the reference's own time is none.
_LEAST_SHARE = 0.4
# A match is over when it has not become better for so long.
_SETTLE_S = 0.3
# The search cuts less exactly than the counter, by whose repetitions the reference's limit was found.
_CUT = 1.25
# Share of the way from rest to the turning point beyond which somebody is there.
_AT_TURN = 0.93
# So many frames say from where somebody is seen.
_DIRECTION_FRAMES = 300
# Another view is taken only when the present one is farther off.
_KEEP_VIEW_DEG = 17.0
_PHASES = np.array(PHASE_OF_SAMPLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One stretch of the stream that looks like the reference.

    Args:
        track_id: Whose.
        start_s, end_s: Media clock.
        distance: Warping distance per step of the path, in scales.
        limit: What held-out good repetitions stay under.
        phase: The profile's name of the phase in which it deviates most.
        frame: Index of the frame that deviates most.
        view_deg: Which view of the reference served.
    """

    track_id: int
    start_s: float
    end_s: float
    distance: float
    limit: float
    phase: str
    frame: int
    view_deg: float

    @property
    def unusual(self) -> bool:
        """Whether it is farther from the reference than held-out good repetitions are."""
        return self.distance > self.limit


class TemporalAnalyzer:
    """Watches everybody's movement for repetitions that are unlike the reference as a whole.

    Args:
        reference: How the movement goes.
        profile: For the names of phases; default that of the reference's exercise.
        stream_id: Name of the stream in events.
        cooldown_s: Least time between two events of one person, seconds.
        slack: How much farther than the limit a stretch may be and still be taken for an attempt at the movement.

    Raises:
        ValidationError: A number is out of range.

    Example:
        >>> from pose_analyzer.exercise.reference import load_reference
        >>> analyzer = TemporalAnalyzer(load_reference("squat"))
        >>> analyzer.phase(1), analyzer.matches
        ('', [])
    """

    def __init__(
        self,
        reference: Reference,
        *,
        profile: ExerciseProfile | None = None,
        stream_id: str = "stream",
        cooldown_s: float = 6.0,
        slack: float = 3.0,
    ) -> None:
        if not cooldown_s >= 0:
            raise ValidationError(f"cooldown_s must be 0 or more, got {cooldown_s}")
        if not slack >= 1:
            raise ValidationError(f"slack must be 1 or more, got {slack}")
        self.reference = reference
        self.profile = profile if profile is not None else load_profile(reference.exercise)
        self.stream_id = stream_id
        self.matches: list[Match] = []
        self._cooldown_s, self._slack = cooldown_s, slack
        # Where the leading side may be the farther one, both are tried.
        self._ways = (False, True) if any(v.azimuth_deg < 0 for v in reference.views) else (None,)
        self._people: dict[int, list[_Spring]] = {}
        self._told_s: dict[int, float] = {}
        self._last_s = -math.inf

    def update(self, poses: Poses, *, timestamp_s: float, frame_index: int) -> list[Event]:
        """Take in a frame.

        Args:
            poses: Tracked, smoothed people; rows of track -1 are ignored.
            timestamp_s: Media clock. A frame not later than the last is ignored; one far back starts anew.
            frame_index: Index of the frame.

        Returns:
            `form_deviation` events (fault `unusual_movement`) of the stretches that ended.

        Raises:
            ValidationError: `timestamp_s` is not finite.
        """
        if not math.isfinite(timestamp_s):
            raise ValidationError(f"timestamp_s must be finite, got {timestamp_s}")
        if timestamp_s < self._last_s - self.profile.max_gap_s:
            self._people.clear()
            self._told_s.clear()
        elif timestamp_s <= self._last_s:
            return []
        self._last_s = timestamp_s
        for track_id in [t for t, s in self._people.items() if s[0].last_s < timestamp_s - self.profile.max_gap_s]:
            del self._people[track_id]
        rows = np.flatnonzero(poses.track_ids >= 0)
        if not len(rows):
            return []
        people = poses[rows]
        features, directions = form_features(people), facing(people)
        events: list[Event] = []
        for i, track_id in enumerate(people.track_ids.tolist()):
            if track_id not in self._people:
                self._people[track_id] = [_Spring(self.reference, self._slack, way) for way in self._ways]
            springs = self._people[track_id]
            done = [(s, s.update(features[i], directions[i], timestamp_s, frame_index)) for s in springs]
            found = [m for s, over in done if over is not None and (m := self._match(track_id, s, *over)) is not None]
            if found:
                best = min(found, key=lambda m: m.distance)
                for s in springs:
                    s.use_up(best.end_s)
                events += self._told(best)
        return events

    def phase(self, track_id: int) -> str:
        """The profile's name of the phase a person is in, "" when nothing of the reference fits."""
        spring = self._nearest(track_id)
        name = "" if spring is None else spring.phase
        return self.profile.phases[name] if name else ""

    def distance(self, track_id: int) -> float:
        """Distance per step of the best partial match that ends now, in scales; NaN when there is none."""
        spring = self._nearest(track_id)
        return math.nan if spring is None else spring.distance

    def _nearest(self, track_id: int) -> _Spring | None:
        """The way of looking at a person that fits best now."""
        springs = self._people.get(track_id, [])
        return min(springs, key=lambda s: s.distance if math.isfinite(s.distance) else math.inf, default=None)

    def _match(self, track_id: int, spring: _Spring, view: ReferenceView, start_s: float, end_s: float) -> Match | None:
        kept = [r for r in spring.rows if start_s <= r[0] <= end_s]
        if len(kept) < 4:
            return None
        times, values = np.array([r[0] for r in kept]), np.stack([r[2] for r in kept])
        at = np.linspace(times[0], times[-1], SAMPLES)
        series = view.scaled(np.stack([np.interp(at, times, column) for column in values.T], axis=1))
        reference = view.scaled(spring.mean)
        distance, path = align(reference, series, window=STREAM_WINDOW)
        off = [float(np.square(reference[i] - series[j]).sum()) for i, j in path]
        i, j = path[int(np.argmax(off))]
        return Match(
            track_id=track_id,
            start_s=float(times[0]),
            end_s=float(times[-1]),
            distance=distance,
            limit=_CUT * view.stream_limit,
            phase=self.profile.phases[_phases_of(reference)[i]],
            frame=kept[int(np.abs(times - at[j]).argmin())][1],
            view_deg=view.azimuth_deg,
        )

    def _told(self, match: Match) -> list[Event]:
        self.matches.append(match)
        if not match.unusual or match.end_s < self._told_s.get(match.track_id, -math.inf) + self._cooldown_s:
            return []
        self._told_s[match.track_id] = match.end_s
        return [
            Event(
                type=EventType.FORM_DEVIATION,
                stream_id=self.stream_id,
                track_id=match.track_id,
                start_s=match.start_s,
                end_s=match.end_s,
                value=round(match.distance, 3),
                frames=(match.frame,),
                message=(
                    f"Unusual movement, most in the phase {match.phase}: distance {match.distance:.1f}, "
                    f"good ones stay under {match.limit:.1f}"
                ),
                data={
                    "fault": "unusual_movement",
                    "joint": "",
                    "side": "",
                    "phase": match.phase,
                    "degrees": None,
                    "distance": round(match.distance, 4),
                    "limit": round(match.limit, 4),
                    "view_deg": match.view_deg,
                    "level": "warn",
                },
            )
        ]


def _phases_of(mean: Array) -> list[str]:
    """Phase of each sample of a reference by how far it has come: an average turns not exactly where its parts do."""
    way = mean[_PHASES == "turn"].mean(0) - mean[[0, -1]].mean(0)
    come = (mean - mean[[0, -1]].mean(0)) @ way / max(float(way @ way), 1e-9)
    turn = np.flatnonzero(come >= _AT_TURN)
    first, last = (int(turn[0]), int(turn[-1])) if len(turn) else (SAMPLES, SAMPLES)
    return ["out" if i < first else "turn" if i <= last else "back" for i in range(SAMPLES)]


class _Spring:
    """One person's column of the warping matrix."""

    def __init__(self, reference: Reference, slack: float, way: bool | None) -> None:
        self._reference, self._slack, self._way = reference, slack, way
        usual = reference.durations_s.get("all")
        self._usual_s = math.exp(usual[0]) if usual else 1.0
        self._least_s = _LEAST_SHARE * self._usual_s
        self.rows: deque[tuple[float, int, Array]] = deque()
        self._seen: deque[tuple[float, int, Array]] = deque()
        self._direction = _Direction()
        self.last_s = -math.inf
        self._view: ReferenceView | None = None
        self._mirrored = False
        self.mean = np.zeros((SAMPLES, 0))
        self._cost = self._length = self._start = np.zeros(0)
        self._best: tuple[float, float, float] | None = None  # distance, start, end

    @property
    def distance(self) -> float:
        """Per step, of the cheapest partial match."""
        if self._view is None or not np.isfinite(self._cost).any():
            return math.nan
        return float(np.sqrt(self._cost / np.maximum(self._length, 1.0)).min())

    @property
    def phase(self) -> str:
        """Phase of the sample at which the cheapest partial match stands."""
        if self._view is None or not np.isfinite(self._cost).any():
            return ""
        per_step = np.sqrt(self._cost / np.maximum(self._length, 1.0))
        return _phases_of(self.mean / self._view.scale)[int(per_step.argmin())] if per_step.min() <= self._most(self._view) else ""

    def update(self, features: Array, direction: Array, time_s: float, frame: int) -> tuple[ReferenceView, float, float] | None:
        """Take in a frame; view, start and end of the match that it shows to be over."""
        self.last_s = time_s
        self._direction.add(direction)
        self._seen.append((time_s, frame, features))
        while self._seen[0][0] < time_s - self._usual_s:
            self._seen.popleft()
        if self._look():
            # Another view has its own features: what is under way is looked at again with those.
            for row in list(self._seen)[:-1]:
                self._take_in(*row)
        return self._take_in(time_s, frame, features)

    def _take_in(self, time_s: float, frame: int, features: Array) -> tuple[ReferenceView, float, float] | None:
        view = self._view
        if view is None:
            return None
        x = (swapped(features) if self._mirrored else features)[view.columns]
        if not np.isfinite(x).any():
            return None
        # A feature that is missing for a moment keeps its last value: it neither fits nor deviates.
        x = np.where(np.isfinite(x), x, self.rows[-1][2] if self.rows else self.mean[0])
        self.rows.append((time_s, frame, x))
        while self.rows[0][0] < time_s - 20.0:
            self.rows.popleft()
        self._step(view, x, time_s)
        return self._over(view, time_s)

    def _most(self, view: ReferenceView) -> float:
        """Distance up to which something is an attempt at the movement: whoever stands at rest is always farther."""
        still = float(np.sqrt(np.square((self.mean - self.mean[0]) / view.scale).sum(1).mean()))
        return min(self._slack * _CUT * view.stream_limit, _OF_STILL * still)

    def _look(self) -> bool:
        """Choose the view of the reference; whether it is another one, which starts anew."""
        azimuth = self._direction.azimuth_deg
        current, turned = self._view, -azimuth if self._mirrored else azimuth
        if current is not None and abs(current.azimuth_deg - turned) <= _KEEP_VIEW_DEG:
            self.mean = current.mean_at(turned)
            return False
        mirrored = azimuth < 0 if self._way is None else self._way
        turned = -azimuth if mirrored else azimuth
        chosen = self._reference.view(turned)
        if chosen is current and mirrored == self._mirrored:
            return False
        self._view, self._mirrored, self._best = chosen, mirrored, None
        self.mean = np.zeros((SAMPLES, 0)) if chosen is None else chosen.mean_at(turned)
        self._cost, self._length, self._start = np.full(SAMPLES, np.inf), np.zeros(SAMPLES), np.full(SAMPLES, np.nan)
        self.rows.clear()
        return chosen is not None

    def _step(self, view: ReferenceView, x: Array, time_s: float) -> None:
        """One column of the matrix: costs, lengths and starts of the cheapest ways, by the sample at which they stand.

        A frame moves a way on by at most as many samples as the fastest repetition would: nobody leaps through the reference.
        """
        local = np.square((self.mean - x) / view.scale).sum(1)
        total = np.concatenate([[0.0], np.cumsum(local)])
        elapsed_s = time_s - self.rows[-2][0] if len(self.rows) > 1 else 0.0
        leap = min(max(1, math.ceil(elapsed_s * SAMPLES / self._least_s)), SAMPLES - 1)
        cost, length, start = self._cost + local, self._length + 1.0, self._start.copy()
        for k in range(1, leap + 1):
            way = self._cost[:-k] + (total[k + 1 :] - total[1:-k])
            better = np.flatnonzero(way < cost[k:]) + k
            cost[better], length[better], start[better] = way[better - k], self._length[better - k] + k, self._start[better - k]
        cost[0], length[0], start[0] = local[0], 1.0, time_s  # the reference may begin at any frame
        self._cost, self._length, self._start = cost, length, start

    def _over(self, view: ReferenceView, time_s: float) -> tuple[ReferenceView, float, float] | None:
        """The best whole match, once no way that began within it can still do better."""
        start_s = float(self._start[-1])
        distance = math.sqrt(self._cost[-1] / self._length[-1]) if self._length[-1] else math.inf
        moving = time_s - start_s >= self._least_s
        if moving and distance <= self._most(view) and (self._best is None or distance < self._best[0]):
            self._best = distance, start_s, time_s
            return None
        if self._best is None or time_s - self._best[2] < _SETTLE_S:
            return None
        least, begun_s, ended_s = self._best
        # Somebody at the turning point has a way that matches all of it cheaply; the one that matches up to here is better still.
        better = (self._start <= ended_s) & (self._cost < least**2 * np.maximum(self._length, 1.0))
        if better[:-1].any() and time_s - ended_s < self._usual_s:
            return None
        self.use_up(ended_s)
        return view, begun_s, ended_s

    def use_up(self, ended_s: float) -> None:
        """What began within a match is no other one."""
        self._best = None
        self._cost[self._start <= ended_s] = np.inf


class _Direction:
    """Where a person's left has pointed lately: `features.view_azimuth_deg` of the last frames, kept up with instead of worked out anew."""

    def __init__(self) -> None:
        self._rows: deque[tuple[float, float] | None] = deque()
        self._toward: list[float] = []  # sorted
        self._across: list[float] = []

    def add(self, direction: Array) -> None:
        """Take in a frame's (2,) of `features.facing`."""
        across, toward = abs(float(direction[0])), float(direction[1])
        known = math.isfinite(across) and math.isfinite(toward)
        self._rows.append((across, toward) if known else None)
        if known:
            insort(self._across, across)
            insort(self._toward, toward)
        if len(self._rows) > _DIRECTION_FRAMES and (old := self._rows.popleft()) is not None:
            del self._across[bisect_left(self._across, old[0])]
            del self._toward[bisect_left(self._toward, old[1])]

    @property
    def azimuth_deg(self) -> float:
        """0 from the front or from behind, 90 from the person's left, -90 from the right; NaN if unknown."""
        if not self._toward:
            return math.nan
        toward, across = _median(self._toward), _median(self._across)
        return math.degrees(math.atan2(toward, across)) if toward or across else math.nan


def _median(ordered: list[float]) -> float:
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2.0
