"""Every setting of the pose analyzer as one typed tree.

Values come from, in rising order: the defaults below, a YAML file, the environment
(`POSE_DETECTION__NAME=yolo`), flags. An unknown key is an error that names the nearest known one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from shared_utils.config import SettingsModel, load_settings

ENV_PREFIX = "POSE_"


class VideoSettings(SettingsModel):
    """Which frames of a source are analysed."""

    stride: int = Field(default=1, ge=1, le=1000, description="Analyse every n-th frame.")
    start_s: float | None = Field(default=None, ge=0, description="Skip what lies before this time, s.")
    end_s: float | None = Field(default=None, gt=0, description="Stop at this time, s.")
    prefetch: int = Field(default=8, ge=0, le=256, description="Frames decoded ahead in a thread of their own; 0 decodes in line.")


class DetectionSettings(SettingsModel):
    """How people are found in a frame."""

    name: Literal["blazepose", "mediapipe", "yolo"] = Field(default="blazepose", description="Pose detector.")
    device: str = Field(
        default="cpu", description="cpu, gpu or npu (blazepose), cuda, cuda:1 or mps (yolo), or auto. An absent device is an error."
    )
    model: str | None = Field(default=None, description="Weights: a name of the model registry or a path. Default: the detector's own.")
    max_people: int = Field(default=6, ge=1, le=64, description="Most people measured in one frame.")
    threads: int = Field(default=0, ge=0, le=256, description="Inference threads; 0 lets the runtime choose.")
    looks: Literal[1, 2, 4] = Field(
        default=1,
        description="How often blazepose looks at each person: 2 = also at the mirror image, 4 = also at both a little larger. "
        "Knees and hips are measured better, each look costs what a person costs.",
    )
    multi_scale: Literal["off", "auto", "on"] = Field(
        default="off",
        description="Search tiles of the picture for people who are small in it: auto = a few per frame, and more while somebody "
        "small is about; on = all of them in every frame, tens of times the cost.",
    )
    min_person_px: int = Field(
        default=40,
        ge=16,
        le=1000,
        description="Least height of a person that tiles are searched for, px; half of it takes four times the tiles.",
    )
    tiles_per_frame: int = Field(
        default=4, ge=1, le=1000, description="With multi_scale auto: tiles searched per frame while small people are about."
    )


class TrackingSettings(SettingsModel):
    """How people keep their identity from frame to frame.

    "oks" by default: on the 17 athletes' scenes one change of identity against the 23 of "bytetrack", none where nobody is hidden for
    more than a second, and the repetitions counted on recordings are the same. For one person it costs 0.05 ms a frame more.
    """

    name: Literal["bytetrack", "botsort", "deepsort", "oks"] = Field(default="oks", description="Tracker.")
    config: Path | None = Field(default=None, description="YAML with the tracker's parameters (ultralytics' key names).")
    leave_s: float = Field(default=2.0, gt=0, le=600, description="A person unseen for this long has left, s.")


class SmoothingSettings(SettingsModel):
    """Filter of keypoints. For one_euro and steady: a lower cut-off is stiller at rest, a higher beta lags less in motion.

    "steady" by default: on scenes that no setting was chosen on it leaves 8 % of the jitter at rest (one_euro 15 %), lags in the
    fastest motion by nothing, and is nearer to the truth than the readings themselves; repetitions are the same, angles within
    0.3 degrees. For one person it costs 0.05 ms a frame more. Gaps and swaps are left alone by default: filling and repairing cost
    as much again and changed no count where it was tried.
    """

    enabled: bool = Field(default=True, description="Filter keypoints before measuring.")
    name: Literal["one_euro", "steady", "kalman_velocity", "kalman_acceleration", "ema", "temporal_fusion", "exponential_fusion"] = Field(
        default="steady", description="Filter; the values below are for one_euro and steady."
    )
    min_cutoff_hz: float | None = Field(default=None, gt=0, description="Cut-off at rest, Hz. Default: the filter's own.")
    beta: float | None = Field(
        default=None, ge=0, description="Rise of the cut-off with speed, Hz per body height per second. Default: the filter's own."
    )
    derivative_cutoff_hz: float | None = Field(
        default=None, gt=0, description="Cut-off of the speed estimate, Hz. Default: the filter's own."
    )
    fill_gaps_s: float = Field(
        default=0.0,
        ge=0,
        le=5,
        description="Predict keypoints and people out of sight for up to this long, s, marked as predicted; 0 leaves them missing.",
    )
    repair_swaps: bool = Field(default=False, description="Undo exchanges of left and right before filtering.")


class AngleSettings(SettingsModel):
    """When a joint angle is a reading."""

    min_confidence: float = Field(default=0.5, ge=0, le=1, description="Keypoints below this confidence give no angle.")
    planes: bool = Field(default=False, description="Also measure flexion and abduction of shoulder and hip apart; a third more time.")
    errors: bool = Field(default=True, description="Give every angle of a result its error, and the angles of lifted landmarks.")
    evidence: Literal["lenient", "strict"] = Field(
        default="lenient",
        description="strict: no reading where the error exceeds 15 degrees or a segment points at the camera. Counting is not affected.",
    )


class ExerciseSettings(SettingsModel):
    """What is counted."""

    name: str | None = Field(default=None, description="Exercise profile by name or path; auto recognises it; none counts nothing.")
    reference: str | None = Field(
        default=None,
        description="Reference of form by name or JSON file (pose-analyzer reference build); default: the exercise's own, of the athlete.",
    )
    form: bool = Field(default=True, description="Judge the form of each repetition, where there is a reference of the exercise.")


class OutputSettings(SettingsModel):
    """What is written."""

    video: bool = Field(default=True, description="Write the annotated video.")
    plot: bool = Field(default=True, description="Write the angle plot.")
    keypoints: bool = Field(default=True, description="Keep keypoints in series.parquet, beside angles and counts.")


class PoseSettings(SettingsModel):
    """The whole tree."""

    video: VideoSettings = Field(default_factory=VideoSettings, description="Frames.")
    detection: DetectionSettings = Field(default_factory=DetectionSettings, description="Detector.")
    tracking: TrackingSettings = Field(default_factory=TrackingSettings, description="Tracker.")
    smoothing: SmoothingSettings = Field(default_factory=SmoothingSettings, description="Filter.")
    angles: AngleSettings = Field(default_factory=AngleSettings, description="Angles.")
    exercise: ExerciseSettings = Field(default_factory=ExerciseSettings, description="Repetitions.")
    output: OutputSettings = Field(default_factory=OutputSettings, description="Results.")

    @field_validator("video")
    @classmethod
    def _times_in_order(cls, video: VideoSettings) -> VideoSettings:
        if video.start_s is not None and video.end_s is not None and video.end_s <= video.start_s:
            raise ValueError(f"end_s ({video.end_s}) must lie after start_s ({video.start_s})")
        return video


def load_pose_settings(config_file: Path | None = None, overrides: Mapping[str, Any] | None = None) -> PoseSettings:
    """The settings in force: defaults < YAML file < environment < `overrides` (dotted keys).

    Raises:
        ConfigError: A key is unknown or a value out of range; the text names the place and the nearest key.

    Example:
        >>> load_pose_settings(overrides={"exercise.name": "squat"}).exercise.name
        'squat'
    """
    return load_settings(PoseSettings, config_file=config_file, env_prefix=ENV_PREFIX, overrides=dict(overrides or {}))
