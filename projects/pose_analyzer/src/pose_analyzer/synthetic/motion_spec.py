"""What an athlete does, how fast and how well: frozen, validated dataclasses. Part of `spec`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Literal

from pose_analyzer.synthetic.exercises import DEPTH_LIMITS_DEG, DEPTHS_DEG, FAULTS, HELD, ONE_ARM, UNCOUNTED, Exercise
from pose_analyzer.synthetic.spec_checks import require, require_choice, require_range

Side = Literal["both", "left", "right", "alternating"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TempoSpec:
    """Seconds of each part of a repetition, as coaches write it: lowering - pause - lifting - pause.

    Args:
        eccentric_s: Lowering the body or the weight.
        bottom_pause_s: Holding still at the low end.
        concentric_s: Lifting.
        top_pause_s: Holding still at the high end.
    """

    eccentric_s: float = 1.2
    bottom_pause_s: float = 0.2
    concentric_s: float = 1.0
    top_pause_s: float = 0.4

    def __post_init__(self) -> None:
        for name in ("eccentric_s", "concentric_s"):
            require_range(self, name, 0.1, 60.0)
        for name in ("bottom_pause_s", "top_pause_s"):
            require_range(self, name, 0.0, 60.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultSpec:
    """What an athlete does wrong, by degree. Every fault grows from nothing at rest to its full size at the turning point.

    Args:
        knee_valgus_deg: Knees fall inwards: turn of the leg's plane around the line hip-ankle, towards the midline.
        forward_lean_deg: The trunk leans that much further forward (the hips go back to keep the balance).
        rounded_back_deg: Flexion of the spine, from pelvis to chest.
        depth_loss_deg: The leading joint stops that many degrees before its full depth.
        half_range: Share of the range that is missing, 0..0.95; 0.5 is half a repetition.
        elbow_drift_deg: The upper arm swings forward in a curl.
        asymmetry_deg: The right side's leading joint stops that many degrees before the left's.
        rushed_tempo: Share of the moving time that is missing, 0..0.8; 0.5 is twice as fast.
        reps: Attempts (from 1) that show the faults; default all.
    """

    knee_valgus_deg: float = 0.0
    forward_lean_deg: float = 0.0
    rounded_back_deg: float = 0.0
    depth_loss_deg: float = 0.0
    half_range: float = 0.0
    elbow_drift_deg: float = 0.0
    asymmetry_deg: float = 0.0
    rushed_tempo: float = 0.0
    reps: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        limits = {"knee_valgus_deg": 45.0, "forward_lean_deg": 45.0, "rounded_back_deg": 60.0, "depth_loss_deg": 90.0}
        limits |= {"half_range": 0.95, "elbow_drift_deg": 80.0, "asymmetry_deg": 30.0, "rushed_tempo": 0.8}
        for name, high in limits.items():
            require_range(self, name, 0.0, high)
        require(self.reps is None or all(isinstance(r, int) and r >= 1 for r in self.reps), "FaultSpec.reps counts attempts from 1")

    def active(self) -> dict[str, float]:
        """The faults that are there, by name.

        Example:
            >>> FaultSpec(knee_valgus_deg=12).active()
            {'knee_valgus_deg': 12}
        """
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "reps" and getattr(self, f.name)}

    def during(self, attempt: int) -> FaultSpec:
        """The faults of one attempt (from 1): these, or none."""
        return self if self.reps is None or attempt in self.reps else FaultSpec()


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionSpec:
    """What an athlete does.

    Args:
        exercise: Its name.
        reps: Number of attempts, full and partial; none for plank, wall sit, walking and idle.
        tempo: Seconds of a repetition's parts; default by exercise.
        depth_deg: Angle of the leading joint at the turning point; default by exercise (`DEPTHS_DEG`).
        side: Which arm (curls, lateral raise, press) or which leg in front (lunge); "both" is the right leg.
        start_delay_s: Standing ready before the first repetition.
        end_pause_s: Standing after the last.
        hold_s: How long plank, wall sit and idle last.
        fatigue_slowdown: Share by which the last repetition is slower than the first.
        fatigue_shrink: Share of the range that the last repetition has lost.
        partial: Attempt (from 1) -> share of the full range it reaches; such attempts are not counted as repetitions.
        pauses: Attempt (from 1) -> seconds of extra rest before it.
        tempo_jitter: Largest random change of each repetition's duration, as a share of it.
        faults: What goes wrong.
        equipment: Draw dumbbells, barbell or bar where the exercise has one.
        gestures: What an idle athlete does, in order and again; default drawn by seed from `motions.GESTURES`.
        path_m: Waypoints (x, y) in the world of a walk; default 4 m to the athlete's front.
        speed_m_s: Walking speed.
    """

    exercise: Exercise = Exercise.SQUAT
    reps: int = 5
    tempo: TempoSpec | None = None
    depth_deg: float | None = None
    side: Side = "both"
    start_delay_s: float = 0.5
    end_pause_s: float = 0.5
    hold_s: float = 10.0
    fatigue_slowdown: float = 0.0
    fatigue_shrink: float = 0.0
    partial: Mapping[int, float] = field(default_factory=dict)
    pauses: Mapping[int, float] = field(default_factory=dict)
    tempo_jitter: float = 0.0
    faults: FaultSpec = FaultSpec()
    equipment: bool = True
    gestures: tuple[str, ...] = ()
    path_m: tuple[tuple[float, float], ...] = ()
    speed_m_s: float = 1.2

    def __post_init__(self) -> None:
        object.__setattr__(self, "exercise", Exercise.named(self.exercise))
        require(isinstance(self.reps, int) and 0 <= self.reps <= 1000, f"MotionSpec.reps must be 0..1000, got {self.reps!r}")
        for name, low, high in (("start_delay_s", 0, 600), ("end_pause_s", 0, 600), ("hold_s", 0.1, 3600), ("speed_m_s", 0.3, 2.2)):
            require_range(self, name, low, high)
        for name, high in (("fatigue_slowdown", 3.0), ("fatigue_shrink", 0.9), ("tempo_jitter", 0.5)):
            require_range(self, name, 0.0, high)
        require_choice(self, "side", ("both", "left", "right", "alternating"))
        for name, low, high in (("partial", 0.05, 1.0), ("pauses", 0.0, 600.0)):
            mapping = getattr(self, name)
            for attempt, value in mapping.items():
                ok = isinstance(attempt, int) and 1 <= attempt <= max(self.reps, 1) and low <= value <= high
                require(ok, f"MotionSpec.{name} maps attempts 1..{self.reps} to {low:g}..{high:g}, got {attempt!r}: {value!r}")
            object.__setattr__(self, name, MappingProxyType(dict(sorted(mapping.items()))))
        self._check_exercise()

    def _check_exercise(self) -> None:
        exercise = self.exercise
        always = {"depth_loss_deg", "half_range", "rushed_tempo"} if exercise not in UNCOUNTED else set()
        wrong = set(self.faults.active()) - FAULTS.get(exercise, frozenset()) - always
        require(
            not wrong, f"{exercise.value} cannot show {', '.join(sorted(wrong))}; it can show {', '.join(sorted(self.possible_faults))}"
        )
        sided = exercise in (*ONE_ARM, Exercise.LUNGE)
        require(self.side == "both" or sided, f"{exercise.value} has no side; leave side at 'both', got {self.side!r}")
        if self.depth_deg is not None:
            require(exercise in DEPTHS_DEG, f"{exercise.value} has no depth_deg")
            low, high = DEPTH_LIMITS_DEG[exercise]
            require_range(self, "depth_deg", low, high)
        require(len(self.path_m) != 1, "MotionSpec.path_m needs at least two points")

    @property
    def depth_range_deg(self) -> tuple[float, float]:
        """Angle of the leading joint at rest and at full depth; zeros for walking and idle."""
        rest, depth = DEPTHS_DEG.get(self.exercise, (0.0, 0.0))
        return rest, depth if self.depth_deg is None else self.depth_deg

    @property
    def tempo_in_force(self) -> TempoSpec:
        """The tempo, or the exercise's own where none is given."""
        if self.tempo is not None:
            return self.tempo
        if self.exercise is Exercise.JUMPING_JACK:
            return TempoSpec(eccentric_s=0.45, bottom_pause_s=0.08, concentric_s=0.45, top_pause_s=0.08)
        return TempoSpec()

    @property
    def possible_faults(self) -> frozenset[str]:
        """The faults that this exercise can show."""
        always = () if self.exercise in UNCOUNTED else ("depth_loss_deg", "half_range", "rushed_tempo")
        return FAULTS.get(self.exercise, frozenset()) | frozenset(always)

    @property
    def counted(self) -> bool:
        """Whether the exercise has repetitions."""
        return self.exercise not in UNCOUNTED

    @property
    def held(self) -> bool:
        """Whether the exercise is a position to hold."""
        return self.exercise in HELD
