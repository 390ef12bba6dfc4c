"""One repetition against a reference: what deviates, by how much, what that costs.

Evidence is a deviation in units of the reference's own spread, after the repetition has been warped onto the reference. A
score is 100 less the points each joint lost; the parts always add up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from pose_analyzer.exercise.build import WINDOW
from pose_analyzer.exercise.dtw import onto
from pose_analyzer.exercise.faults import GENERIC, JOINT_OF, RULES, phase_words, range_features
from pose_analyzer.exercise.features import FORM_FEATURES, SIDES, Array, swapped_columns
from pose_analyzer.exercise.findings import Finding, FormScore, keypoints_of, severity_of
from pose_analyzer.exercise.haste import haste
from pose_analyzer.exercise.profile import ExerciseProfile
from pose_analyzer.exercise.recording import PHASE_OF_SAMPLE, Repetition, leading_side
from pose_analyzer.exercise.reference import Reference, ReferenceView
from pose_analyzer.exercise.styles import fault_style_deg, feature_style_deg, matched, tolerated

DEFAULT_LIMIT = 3.5
"""Least evidence for a fault where the reference has no limit of its own, in spreads."""
# Evidence of what is no named fault must be stronger, as there is so much to look at.
_GENERIC_LIMIT, _GENERIC_LEAST_DEG, _GENERIC_FACTOR = 8.0, 15.0, 2.0
_ANOTHER_STYLE = 1.5
# A spread beyond this says that the view does not show the feature.
_MOST_SPREAD_DEG = 12.0
# A view in which a fault that everybody would see gives less evidence than this beyond the limit does not show it surely.
_SURELY = 0.8
# Evidence of a fault's own feature alone, where nothing explains the whole posture, in limits.
_ALONE = 1.25
_FREE = 2.0
_POINTS_PER_SPREAD = 5.0
_MOST_POINTS = 40.0
_HALF = 0.7
# Of what one side falls short by, the least share that the other one does in a movement that is too short.
_BOTH = 0.3
# From the front (within this angle), features with a larger spread are no evidence for any fault.
_FRONTAL_DEG, _SURE_DEG = 22.0, 6.0
# Evidence that the fault's own features must show, in spreads.
_OWN = 1.5
# A detector makes two sides more alike than they are, and sees a folded body badly: what shows these is less sure.
_OWN_OF = {"asymmetry": 0.5, "depth_loss": 1.2}
_FAIR = 0.75
# Beside a strong fault a weak one is more likely its shadow.
_BESIDE = 0.4
# A fault of less is not worth telling; a view that only shows more than so many degrees does not show the fault.
_LEAST_DEG = {"asymmetry": 5.0, "depth_loss": 12.0, "rounded_back": 10.0, "knee_valgus": 4.0}
# A fault that everybody would see; a view in which even that one gives no evidence does not show the fault.
_CLEAR_DEG = {"rounded_back": 40.0, "depth_loss": 30.0, "knee_valgus": 16.0, "forward_lean": 16.0, "asymmetry": 20.0, "elbow_drift": 32.0}
_CHARGED = {r.name: r.joint for r in RULES} | {"depth_loss": "range", "rushed_tempo": "tempo", "deviation": "other"}
# Feature without side -> the joint that shows it, where that is not the joint that loses points.
_JOINTS_SHOWN = {
    "knee_difference": "knee",
    "elbow_difference": "elbow",
    "shoulder_difference": "shoulder",
    "hip_tilt": "hip",
    "shoulder_tilt": "shoulder",
    "wrist_tilt": "wrist",
} | dict(JOINT_OF)
# The same fault on the other side.
_MIRRORED = " mirrored"
_PHASES = np.array(PHASE_OF_SAMPLE)


class _Candidate(NamedTuple):
    """A deviation that a rule looks at."""

    column: int
    sign: int
    evidence: float
    degrees: float


def judge(repetition: Repetition, reference: Reference, profile: ExerciseProfile) -> FormScore:
    """Score one repetition.

    Args:
        repetition: As the recorder gave it.
        reference: Of the same exercise.
        profile: Whose names of phases are used.
    """
    led = leading_side(repetition, profile)
    turned = repetition.led_by(led)
    view = reference.view(turned.azimuth_deg)
    curves = turned.curves()
    columns = [] if view is None else [i for i, c in enumerate(view.columns) if np.isfinite(curves[:, c]).all()]
    if view is None or not columns:
        return _unjudged(repetition, turned.azimuth_deg, view)
    return _Judge(repetition, turned, led, curves, view, columns, reference, profile).score()


def _unjudged(repetition: Repetition, azimuth_deg: float, view: ReferenceView | None) -> FormScore:
    return FormScore(
        track_id=repetition.track_id,
        number=repetition.number,
        start_s=repetition.start_s,
        end_s=repetition.end_s,
        score=math.nan,
        parts={},
        findings=(),
        azimuth_deg=azimuth_deg,
        view_deg=math.nan if view is None else view.azimuth_deg,
        distance=math.nan,
        distance_limit=math.inf,
        not_judged=("everything",),
    )


class _Judge:
    """One repetition beside its reference, and the questions asked about it."""

    def __init__(
        self,
        repetition: Repetition,
        turned: Repetition,
        led: str,
        curves: Array,
        view: ReferenceView,
        columns: list[int],
        reference: Reference,
        profile: ExerciseProfile,
    ) -> None:
        self.repetition, self.led, self.profile, self.reference, self.view = repetition, led, profile, reference, view
        self.names = [view.features[i] for i in columns]
        self.azimuth_deg = turned.azimuth_deg
        self.mean = view.mean_at(self.azimuth_deg)[:, columns]
        self.phase_spread = {p: s[columns] for p, s in view.phase_spread.items()}
        self.covariance = view.covariance[np.ix_(columns, columns)]
        self.signatures = {k: s[columns] for k, s in view.signatures.items()}
        if "asymmetry" in self.signatures:
            self.signatures["asymmetry" + _MIRRORED] = swapped_columns(self.names, self.signatures["asymmetry"])
        scale = view.scale[columns]
        values = curves[:, [FORM_FEATURES.index(n) for n in self.names]]
        self.aligned, self.distance, self.path = onto(self.mean / scale, values / scale, values, window=WINDOW)
        # Features that are missing now had their share in the reference's distances.
        self.distance *= math.sqrt(len(view.features) / len(columns))
        self.times_s = turned.sample_times_s()
        self.words = phase_words(profile)
        self.not_judged: list[str] = []
        self.evidence: dict[str, float] = {}

    def score(self) -> FormScore:
        """All of it."""
        hurry, rushed = haste(self.repetition, self.reference)
        if math.isfinite(hurry):
            self.evidence["rushed_tempo"] = hurry
        named = [*self._posture(), *([] if rushed is None else [rushed])]
        findings = sorted(named or self._others(), key=lambda f: -f.evidence)
        parts = self._parts()
        return FormScore(
            track_id=self.repetition.track_id,
            number=self.repetition.number,
            start_s=self.repetition.start_s,
            end_s=self.repetition.end_s,
            score=max(100.0 - math.fsum(parts.values()), 0.0),
            parts=parts,
            findings=tuple(findings),
            azimuth_deg=self.azimuth_deg,
            view_deg=self.view.azimuth_deg,
            distance=self.distance,
            distance_limit=self.view.distance_limit,
            not_judged=tuple(dict.fromkeys(self.not_judged)),
            evidence=dict(self.evidence),
            led=self.led,
        )

    def _posture(self) -> list[Finding]:
        """Faults at the turning point, from their signatures where the reference knows them, else from single features."""
        if not self.signatures:
            return [f for f in (*self._single(), self._range()) if f is not None]
        short = self._range()
        explained = self._explained()
        # Knees that cave in, or one leg that stays behind, look like knees that hardly bend as well; they have marks of their own.
        other = explained and explained[0].fault not in ("depth_loss", "half_range") and short is not None
        if short is None or short.fault != "half_range" or (other and explained[0].evidence > short.evidence):
            return explained or self._alone()
        return [short]  # half a movement has the posture of its middle; nothing else can be said of it

    def _explained(self) -> list[Finding]:
        """Faults by their signatures, the strongest first; a further one must explain what the ones before leave.

        Orthogonal matching pursuit (Pati, Rezaiifar and Krishnaprasad 1993) in a space in which the variation of good repetitions
        has the same size in all directions, so that what a turned camera does is no evidence.
        """
        sigma = np.sqrt(np.diag(self.covariance))
        # From the front, flexion is what a knee beside its line looks like as well.
        frontal = abs(self.view.azimuth_deg) <= _FRONTAL_DEG
        kept = np.flatnonzero(sigma <= (_SURE_DEG if frontal else _MOST_SPREAD_DEG))
        if not len(kept):
            self.not_judged += list(self.signatures)
            return []
        root = np.linalg.inv(np.linalg.cholesky(self.covariance[np.ix_(kept, kept)]))
        off = (self.aligned - self.mean)[_PHASES == "turn"].mean(0)
        rest = root @ off[kept]
        hidden: list[str] = []
        white: dict[str, Array] = {}
        own: dict[str, float] = {}
        for name, s in self.signatures.items():
            mine = np.array([i for i in kept if _plain(self.names[i]) in self._features_of(_fault_of(name))], np.intp)
            sure = float(np.linalg.norm(s[mine] / sigma[mine]))
            clear = _CLEAR_DEG.get(_fault_of(name), 30.0)
            shown = self._tolerated(name, float(np.linalg.norm(root @ s[kept])) * clear, clear)
            if shown < self._limit(_fault_of(name)) + _SURELY or sure * clear < _OWN:
                hidden.append(_fault_of(name))
            if shown < self._limit(_fault_of(name)) or sure * clear < _OWN:
                continue
            white[name], own[name] = root @ s[kept], float((s[mine] / sigma[mine]) @ (off[mine] / sigma[mine])) / sure
        chosen: list[str] = []
        found: list[Finding] = []
        while white:
            basis = np.linalg.qr(np.stack([white[n] for n in chosen], axis=1))[0] if chosen else np.zeros((len(rest), 0))
            left = rest - basis @ (basis.T @ rest)
            scores = {n: matched(left, s - basis @ (basis.T @ s)) for n, s in white.items() if n not in chosen}
            if not chosen:
                for n, (evidence, degrees, doubt) in scores.items():
                    fault, evidence = _fault_of(n), self._tolerated(n, evidence / doubt, degrees)
                    self.evidence[fault] = max(evidence, self.evidence.get(fault, -math.inf)) if n != fault else evidence
            told = {n: (e, d) for n, (e, d, doubt) in scores.items() if self._told(n, self._tolerated(n, e / doubt, d), d, own[n])}
            # A movement that is too short has no mark of its own: it is what is left when nothing else says nearly as much.
            fair = {n: (e * (_FAIR if n == "depth_loss" else 1.0), e, d) for n, (e, d) in told.items()}
            name, (_, evidence, degrees) = max(fair.items(), key=lambda item: item[1][0], default=("", (0.0, 0.0, 0.0)))
            if not name or (found and evidence < _BESIDE * found[0].evidence):
                break
            chosen.append(name)
            found.append(self._named(name, degrees, evidence))
            if found[-1].fault == "half_range":  # half a movement has the posture of its middle; nothing else can be said of it
                break
        # What was found all the same, against the odds, was seen.
        self.not_judged += [name for name in hidden if name not in {f.fault for f in found}]
        return found

    def _alone(self) -> list[Finding]:
        """The fault whose own feature is far off, though the rest of the body does not say so as it should."""
        kept = self.not_judged, dict(self.evidence)
        sided = {r.name for r in RULES if r.sign == 0}  # a view from beside makes any two sides differ
        known = self.signatures.keys() - sided
        found = [f for f in self._single() if f.fault in known and f.evidence >= _ALONE * self._limit(f.fault)]
        self.not_judged, self.evidence = kept
        return sorted(found, key=lambda f: -f.evidence)[:1]

    def _told(self, name: str, evidence: float, degrees: float, own: float) -> bool:
        """Whether a fault is beyond doubt, large enough to speak of, and seen in what makes it that fault."""
        fault = _fault_of(name)
        return own >= _OWN_OF.get(fault, _OWN) and evidence >= self._limit(fault) and degrees >= _LEAST_DEG.get(fault, 5.0)

    def _features_of(self, fault: str) -> Sequence[str]:
        """The features (without side) that make a fault what it is."""
        if fault == "depth_loss":
            return list(range_features(self.profile))
        if fault == "asymmetry":
            return [n for n in self.names if n.endswith(("_difference", "_tilt"))]
        return [f for r in RULES if r.name == fault and self.profile.name in r.exercises for f in r.features]

    def _named(self, name: str, degrees: float, evidence: float) -> Finding:
        """A fault that was found by its signature, told by the feature that shows it best."""
        fault = _fault_of(name)
        if fault == "depth_loss":
            c = self._showing(name, list(range_features(self.profile)), degrees, evidence)
            cue = self.profile.cues[0]
            return self._short(c, abs(cue.work_deg - cue.rest_deg))
        rule = next(r for r in RULES if r.name == fault and (self.profile.name in r.exercises or r.name != "asymmetry"))
        # The signature of asymmetry has the side behind that does not lead.
        side = "" if fault != "asymmetry" else self._side("left_" if name.endswith(_MIRRORED) else "right_")
        return self._finding(fault, rule.joint, self._showing(name, rule.features, degrees, evidence), "turn", rule.sentence, side=side)

    def _showing(self, name: str, features: Sequence[str], degrees: float, evidence: float) -> _Candidate:
        """The feature among these (or any) that deviates most in the direction in which the fault moves it."""
        off = (self.aligned - self.mean)[_PHASES == "turn"].mean(0)
        along = off * np.sign(self.signatures[name]) / self.phase_spread["turn"]
        fitting = [i for i, n in enumerate(self.names) if _plain(n) in features] or list(range(len(self.names)))
        column = max(fitting, key=lambda i: along[i])
        return _Candidate(column, 1, evidence, degrees)

    def _single(self) -> Iterator[Finding]:
        rules = [r for r in RULES if self.profile.name in r.exercises]
        for rule in rules:
            found = [c for f in rule.features for c in self._candidates(f, rule.sign, "turn", self._style_deg(rule.name))]
            if not found:
                self.not_judged.append(rule.name)
                continue
            best = max(found, key=lambda c: c.evidence)
            self.evidence[rule.name] = max(best.evidence, self.evidence.get(rule.name, 0.0))
            if best.evidence >= self._limit(rule.name) and best.degrees >= rule.least_deg:
                yield self._finding(rule.name, rule.joint, best, "turn", rule.sentence)

    def _candidates(self, feature: str, sign: int, phase: str, style_deg: float | None = None) -> Iterator[_Candidate]:
        """Deviations in the wrong direction of a feature (of both sides, where it has sides) that this view shows."""
        for column, name in enumerate(self.names):
            spread = float(self.phase_spread[phase][column])
            if _plain(name) != feature or spread > _MOST_SPREAD_DEG:
                continue
            off = float((self.aligned - self.mean)[phase == _PHASES, column].mean())
            off = abs(off) if sign == 0 else sign * off
            yield _Candidate(column, sign or 1, tolerated(off / spread, off, style_deg or feature_style_deg(name)), off)

    def _range(self) -> Finding | None:
        """Half a repetition, or one that is too shallow: the feature that shows the range most surely decides."""
        features = range_features(self.profile)
        most = _SURE_DEG if abs(self.view.azimuth_deg) <= _FRONTAL_DEG else _MOST_SPREAD_DEG
        best: tuple[float, _Candidate, float] | None = None
        for feature, sign in features.items():
            for c in self._candidates(feature, -sign, "turn", self._style_deg("depth_loss")):
                curve = self.mean[:, c.column]
                reach = sign * _reach(curve)
                sureness = reach / float(self.phase_spread["turn"][c.column])
                if reach > 15.0 and self.phase_spread["turn"][c.column] <= most and (best is None or sureness > best[0]):
                    best = sureness, c, reach
        if best is None:
            self.not_judged.append("depth_loss")
            return None
        _, c, reach = best
        self.evidence["depth_loss"] = c.evidence
        if not self._on_both_sides(c):
            return None
        if c.evidence < self._limit("depth_loss") or c.degrees < 6.0:
            return None
        return self._short(c, reach)

    def _short(self, c: _Candidate, whole_deg: float) -> Finding:
        """A movement that is too short by the candidate's degrees of the whole ones: half of one, or less deep than it should be."""
        share = 1.0 - c.degrees / whole_deg
        if share >= _HALF:
            return self._finding("depth_loss", "range", c, "turn", "the range is {degrees:.0f} degrees short")
        # The degrees are an estimate from the whole body; what the feature itself has gone was certainly gone.
        gone, usual = _reach(self.aligned[:, c.column]), _reach(self.mean[:, c.column])
        share = min(max(share, gone / usual if abs(usual) > 1.0 else 0.0), _HALF)
        text = f"only {share:.0%} of the range" if share >= 0.05 else "hardly any of the range"
        return self._finding("half_range", "range", c, "turn", text)

    def _on_both_sides(self, c: _Candidate) -> bool:
        """Whether the other side, where it is seen and does the same, falls short as well."""
        name = self.names[c.column]
        side = name.split("_", 1)[0]
        if side not in SIDES or self.profile.sides == "max" or self.profile.name == "lunge":
            return True
        other = f"{SIDES[1 - SIDES.index(side)]}_{_plain(name)}"
        if other not in self.names or self.phase_spread["turn"][self.names.index(other)] > _MOST_SPREAD_DEG:
            return True
        off = (self.aligned - self.mean)[_PHASES == "turn"].mean(0)
        return float(off[self.names.index(other)] * np.sign(off[c.column])) >= _BOTH * c.degrees

    def _others(self) -> list[Finding]:
        """The strongest deviation that has no name, if it is beyond doubt; of a movement of another style all would deviate."""
        if self.distance > _ANOTHER_STYLE * self.view.distance_limit:
            return []
        best: tuple[_Candidate, str, str] | None = None
        for phase in self.phase_spread:
            for name, words in GENERIC.items():
                for sign, sentence in zip((1, -1), words, strict=True):
                    for c in self._candidates(name, sign, phase):
                        if best is None or c.evidence > best[0].evidence:
                            best = c, phase, sentence
        if best is None:
            return []
        c, phase, sentence = best
        self.evidence["deviation"] = c.evidence
        if c.evidence < max(_GENERIC_FACTOR * self._limit("deviation"), _GENERIC_LIMIT) or c.degrees < _GENERIC_LEAST_DEG:
            return []
        return [self._finding("deviation", JOINT_OF.get(_plain(self.names[c.column]), "symmetry"), c, phase, sentence)]

    def _parts(self) -> dict[str, float]:
        """Joint -> points lost, at most 100 together."""
        lost: dict[str, float] = {}

        def charge(joint: str, evidence: float) -> None:
            points = min(max(evidence - _FREE, 0.0) * _POINTS_PER_SPREAD, _MOST_POINTS)
            if points > lost.get(joint, 0.0):
                lost[joint] = points

        residual = self.aligned - self.mean
        for phase, spread in self.phase_spread.items():
            off = np.abs(residual[phase == _PHASES].mean(0)) / np.hypot(spread, [feature_style_deg(n) for n in self.names])
            for column, name in enumerate(self.names):
                if spread[column] <= _MOST_SPREAD_DEG:
                    charge(JOINT_OF.get(_plain(name), "symmetry"), float(off[column]))
        for fault, evidence in self.evidence.items():
            charge(_CHARGED.get(fault, fault), evidence)
        total = math.fsum(lost.values())
        shrink = min(1.0, 100.0 / total) if total else 1.0
        return {joint: points * shrink for joint, points in sorted(lost.items())}

    def _style_deg(self, fault: str) -> float:
        return fault_style_deg(fault, self.azimuth_deg)

    def _tolerated(self, name: str, evidence: float, degrees: float) -> float:
        """Evidence of a fault beyond what is style, from its signature's name."""
        return tolerated(evidence, degrees, self._style_deg(_fault_of(name)))

    def _limit(self, fault: str) -> float:
        return self.view.limits.get(fault, self.reference.limits.get(fault, DEFAULT_LIMIT))

    def _finding(self, fault: str, joint: str, c: _Candidate, phase: str, sentence: str, *, side: str = "") -> Finding:
        rows = np.flatnonzero(phase == _PHASES)
        residual = (self.aligned - self.mean)[rows, c.column]
        sample = int(rows[int(np.abs(residual).argmax())])
        own = [j for i, j in self.path if i == sample]
        side = side or self._side(self.names[c.column])
        value = float(self.aligned[rows, c.column].mean())
        mean, spread = float(self.mean[rows, c.column].mean()), float(self.phase_spread[phase][c.column])
        said = sentence.format(side=side, degrees=abs(c.degrees)).replace("both knee caves", "the knees cave").replace("both ", "")
        return Finding(
            fault=fault,
            joint=joint,
            side=side,
            phase=self.profile.phases[phase],
            degrees=c.degrees,
            value=value,
            reference_mean=mean,
            reference_spread=spread,
            unit="deg",
            evidence=c.evidence,
            frame=self.repetition.frame_at(float(self.times_s[own[len(own) // 2]])),
            sample=sample,
            keypoints=keypoints_of(_JOINTS_SHOWN.get(_plain(self.names[c.column]), joint), side),
            severity=severity_of(c.evidence, self._limit(fault)),
            message=f"{said} {self.words[phase]}; {value:.0f}°, reference {mean:.0f} ± {spread:.0f}°",
        )

    def _side(self, name: str) -> str:
        """Of the person, from a feature whose left is the leading side."""
        side = name.split("_", 1)[0]
        if side not in SIDES:
            return "both" if name == "knees_in" else ""
        return side if self.led == "left" else SIDES[1 - SIDES.index(side)]


def _fault_of(name: str) -> str:
    """The fault that a signature is of."""
    return name.removesuffix(_MIRRORED)


def _plain(name: str) -> str:
    """A feature's name without its side."""
    return name.removeprefix("left_").removeprefix("right_")


def _reach(curve: Array) -> float:
    """Degrees from rest to the turning point."""
    return float(curve[_PHASES == "turn"].mean()) - float(curve[[0, 1, -2, -1]].mean())
