"""The media clock: from a stream's presentation times to seconds that start at 0 and never run backwards."""

from __future__ import annotations

from fractions import Fraction

from pose_analyzer.video.info import TimingReport

DEFAULT_PERIOD_S = 1 / 25
BACKWARD_BREAK_S = 1.0
FORWARD_BREAK_S = 600.0


def sane_rate(rate: Fraction | float | None) -> float | None:
    """A frame rate as a number, or None when a header says nothing believable (FFmpeg guesses 90000 when it knows nothing).

    Example:
        >>> sane_rate(Fraction(30000, 1001)), sane_rate(Fraction(90000)), sane_rate(None)
        (29.97002997002997, None, None)
    """
    return float(rate) if rate is not None and 0.05 <= rate <= 1000 else None


class MediaClock:
    """Times of a recording.

    The first picture that can be decoded has time 0.0 whatever its presentation time is: cameras begin at the hour of
    the day, transport streams at 1.4 s. After it, time is `(pts - first pts) * time_base`, exactly, with three repairs
    that are counted: a missing time follows its predecessor by one nominal period; one that does not rise follows by
    half a period; a jump (backwards by more than 1 s, forwards by more than 10 min) is a break of the stream's clock
    and not time, so the clock goes on one period after the last picture.

    Args:
        time_base: Seconds per unit of presentation time.
        period_s: Nominal seconds between pictures.

    Example:
        >>> clock = MediaClock(Fraction(1, 1000), 0.04)
        >>> [clock.stamp(pts) for pts in (500, 540, None, 620)]
        [0.0, 0.04, 0.08, 0.12]
    """

    def __init__(self, time_base: Fraction, period_s: float = DEFAULT_PERIOD_S) -> None:
        self.report = TimingReport()
        self.origin_pts: int | None = None
        self._time_base = time_base
        self._period_s = period_s
        self._last_s: float | None = None
        self._last_raw_s = 0.0
        self._shift_s = 0.0
        self._anchor_s, self._derived = 0.0, 0

    def raw_s(self, pts: int) -> float:
        """Seconds of a presentation time since the first picture, without repair."""
        base = self._time_base
        return (pts - (self.origin_pts or 0)) * base.numerator / base.denominator

    def stamp(self, pts: int | None) -> float:
        """Time of the next picture in seconds.

        Args:
            pts: Its presentation time in units of `time_base`; None if it has none.
        """
        if pts is None:
            self.report.missing += 1
            time_s = self._derive()
        elif self.origin_pts is None and self._last_s is None:
            self.origin_pts = pts
            time_s = 0.0
        else:
            time_s = self._from_pts(pts)
        self._last_s = time_s
        return time_s

    def resume(self, pts: int) -> None:
        """The next picture has this presentation time, after a jump that was asked for."""
        self._last_raw_s = self.raw_s(pts) - self._period_s
        self._last_s = self._last_raw_s
        self._shift_s = 0.0
        self._derived = 0

    def _derive(self) -> float:
        if self._last_s is None:
            return 0.0
        if self._derived == 0:
            self._anchor_s = self._last_s
        # A multiple of the period, not a sum of many: no rounding error grows over hours.
        self._derived += 1
        return self._anchor_s + self._derived * self._period_s

    def _from_pts(self, pts: int) -> float:
        if self.origin_pts is None:
            self.origin_pts = pts
            self._last_raw_s, self._derived = -self._period_s, 0
            self._shift_s = (self._last_s or 0.0) + self._period_s
        raw_s = self.raw_s(pts)
        last_s = self._last_s or 0.0
        step_s = raw_s - (self._last_raw_s + self._derived * self._period_s)
        self._derived = 0
        if not -BACKWARD_BREAK_S <= step_s <= FORWARD_BREAK_S:
            self.report.breaks += 1
            self._shift_s = last_s + self._period_s - raw_s
        self._last_raw_s = raw_s
        time_s = raw_s + self._shift_s if self._shift_s else raw_s
        if time_s > last_s:
            return time_s
        self.report.nudged += 1
        return last_s + self._period_s / 2


class LiveClock:
    """Times of a camera: its own clock while that is believable, else the time of arrival.

    A camera's clock is believed while it rises, does not run more than 1 s ahead of the arrivals and not more than 10 s
    behind them (pictures may queue up on the way, but they do not come before they were taken). A slow drift between
    the two clocks, up to 1 in 1000, is followed. What is not believed is counted as a break and bridged by arrival.

    Example:
        >>> clock = LiveClock()
        >>> [round(clock.stamp(pts, arrival), 3) for pts, arrival in ((7.0, 0.0), (7.04, 0.05), (None, 0.08), (99.0, 0.12))]
        [0.0, 0.04, 0.07, 0.11]
    """

    _AHEAD_S, _BEHIND_S, _DRIFT, _LEAST_S = 1.0, 10.0, 1e-3, 1e-6

    def __init__(self) -> None:
        self.report = TimingReport()
        self.last_s: float | None = None
        self._last_arrival_s = 0.0
        self._last_pts_s: float | None = None
        self._ahead_s = 0.0
        self._settled_s = 0.0

    def reconnect(self) -> None:
        """The camera's own clock starts anew; the gap is measured by arrival."""
        self._last_pts_s = None

    def stamp(self, pts_s: float | None, arrival_s: float) -> float:
        """Time of the next picture in seconds.

        Args:
            pts_s: The camera's time of it, seconds, any origin; None if it gives none.
            arrival_s: When it arrived, on a monotonic clock, seconds.
        """
        if self.last_s is None:
            time_s = 0.0
            self._anchor()
        else:
            waited_s = max(arrival_s - self._last_arrival_s, 0.0)
            time_s = self.last_s + self._step(pts_s, waited_s)
        if pts_s is None:
            self.report.missing += 1
        self._last_pts_s = pts_s
        self._last_arrival_s = arrival_s
        self.last_s = time_s
        return time_s

    def _anchor(self) -> None:
        self._ahead_s = self._settled_s = 0.0

    def _step(self, pts_s: float | None, waited_s: float) -> float:
        """Seconds since the picture before."""
        by_arrival_s = max(waited_s, 1e-3)
        if pts_s is None or self._last_pts_s is None:
            self._anchor()
            return by_arrival_s
        step_s = pts_s - self._last_pts_s
        ahead_s = self._ahead_s + step_s - waited_s
        if step_s < self._LEAST_S or not -self._BEHIND_S <= ahead_s - self._settled_s <= self._AHEAD_S:
            self.report.breaks += 1
            self._anchor()
            return by_arrival_s
        self._ahead_s = ahead_s
        leak_s = self._DRIFT * waited_s
        self._settled_s += min(max(ahead_s - self._settled_s, -leak_s), leak_s)
        return step_s
