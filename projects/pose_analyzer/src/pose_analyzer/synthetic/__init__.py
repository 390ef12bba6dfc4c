"""The test athlete: people who exercise, rendered with exact truth.

`Scene` yields `(Frame, Truth)`; `scene_for` builds one in a line; `Scene.from_yaml` reads a description; `write_clip` makes a
video of it. Conventions live where they are made: camera angles and pixels in `camera`, phases and repetitions in `tempo`,
faults in `spec.FaultSpec`, landmarks and joint angles in `landmarks`, visibility in `visibility`.
"""

from pose_analyzer.synthetic.clip import synthesize, write_clip
from pose_analyzer.synthetic.exercises import DEPTHS_DEG, Exercise
from pose_analyzer.synthetic.landmarks import ANGLE_NAMES
from pose_analyzer.synthetic.motions import GESTURES
from pose_analyzer.synthetic.presets import random_body, scene_for
from pose_analyzer.synthetic.scene import Scene
from pose_analyzer.synthetic.spec import (
    AthleteSpec,
    BodySpec,
    CameraSpec,
    FaultSpec,
    ImageSpec,
    MotionSpec,
    RoomSpec,
    SceneSpec,
    TempoSpec,
)
from pose_analyzer.synthetic.spec_io import spec_from_dict, spec_from_yaml, spec_to_dict
from pose_analyzer.synthetic.tempo import Phase
from pose_analyzer.synthetic.truth import ClipTruth, Repetition, Truth, load_truth, save_truth

__all__ = [
    "ANGLE_NAMES",
    "DEPTHS_DEG",
    "GESTURES",
    "AthleteSpec",
    "BodySpec",
    "CameraSpec",
    "ClipTruth",
    "Exercise",
    "FaultSpec",
    "ImageSpec",
    "MotionSpec",
    "Phase",
    "Repetition",
    "RoomSpec",
    "Scene",
    "SceneSpec",
    "TempoSpec",
    "Truth",
    "load_truth",
    "random_body",
    "save_truth",
    "scene_for",
    "spec_from_dict",
    "spec_from_yaml",
    "spec_to_dict",
    "synthesize",
    "write_clip",
]
