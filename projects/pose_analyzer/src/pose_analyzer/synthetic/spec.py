"""What a synthetic scene is made of: frozen, validated dataclasses, each with a sensible default for everything.

`SceneSpec` holds a camera, the properties of the picture, a room and any number of athletes; an athlete is a body that
performs a motion at a place. Every field may be written in YAML under the same name (`spec_io`). Angles are degrees, lengths
metres, times seconds, colours `#rrggbb`. Camera angles: `camera`; phases and repetitions: `tempo`; faults: `FaultSpec`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pose_analyzer.synthetic.motion_spec import FaultSpec, MotionSpec, TempoSpec
from pose_analyzer.synthetic.spec_checks import require, require_choice, require_colours, require_range

__all__ = ["AthleteSpec", "BodySpec", "CameraSpec", "FaultSpec", "ImageSpec", "MotionSpec", "RoomSpec", "SceneSpec", "TempoSpec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BodySpec:
    """A person's measures and looks.

    Args:
        height_m: Stature, 1.0..2.3.
        build: Factor on all girths: 0.75 lean, 1 average, 1.4 heavy.
        leg_scale, trunk_scale, arm_scale: Lengths against the average proportions; stature stays `height_m`.
        shoulder_scale, hip_scale: Breadths against the average.
        skin, hair, shirt, bottoms, shoes, socks: Colours.
        hair_style: How much hair; long hair is tied to a tail.
        sleeves: Of the shirt.
        legwear: Of the bottoms.
    """

    height_m: float = 1.75
    build: float = 1.0
    leg_scale: float = 1.0
    trunk_scale: float = 1.0
    arm_scale: float = 1.0
    shoulder_scale: float = 1.0
    hip_scale: float = 1.0
    skin: str = "#c58c6a"
    hair: str = "#2e2118"
    shirt: str = "#2f5d8c"
    bottoms: str = "#26282e"
    shoes: str = "#e8e8e8"
    socks: str = "#f2f2f2"
    hair_style: Literal["short", "long", "bun", "none"] = "short"
    sleeves: Literal["none", "short", "long"] = "short"
    legwear: Literal["shorts", "leggings", "trousers"] = "shorts"

    def __post_init__(self) -> None:
        require_range(self, "height_m", 1.0, 2.3)
        require_range(self, "build", 0.7, 1.6)
        for name in ("leg_scale", "trunk_scale", "arm_scale", "shoulder_scale", "hip_scale"):
            require_range(self, name, 0.8, 1.25)
        require_colours(self, "skin", "hair", "shirt", "bottoms", "shoes", "socks")
        require_choice(self, "hair_style", ("short", "long", "bun", "none"))
        require_choice(self, "sleeves", ("none", "short", "long"))
        require_choice(self, "legwear", ("shorts", "leggings", "trousers"))


@dataclass(frozen=True, slots=True, kw_only=True)
class AthleteSpec:
    """A body that performs a motion somewhere.

    Args:
        body: Measures and looks.
        motion: What it does.
        position_m: (x, y) on the floor of the motion's origin.
        heading_deg: Which way the athlete faces: 0 along +x, 90 along +y.
        enters_s: Time at which the athlete appears and the motion starts.
        leaves_s: Time at which the athlete is gone; default at the end of a walk's path, else never.
        track_id: Identity in the truth; default the position in the list, from 1.
    """

    body: BodySpec = BodySpec()
    motion: MotionSpec = field(default_factory=MotionSpec)
    position_m: tuple[float, float] = (0.0, 0.0)
    heading_deg: float = 0.0
    enters_s: float = 0.0
    leaves_s: float | None = None
    track_id: int | None = None

    def __post_init__(self) -> None:
        require(len(self.position_m) == 2, f"AthleteSpec.position_m must be (x, y), got {self.position_m!r}")
        require_range(self, "heading_deg", -360.0, 360.0)
        require_range(self, "enters_s", 0.0, 86400.0)
        ok = self.leaves_s is None or self.leaves_s > self.enters_s
        require(ok, f"AthleteSpec.leaves_s must be later than enters_s ({self.enters_s}), got {self.leaves_s!r}")
        ok = self.track_id is None or (isinstance(self.track_id, int) and self.track_id >= 1)
        require(ok, f"AthleteSpec.track_id must be 1 or more, got {self.track_id!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraSpec:
    """Where the camera stands; angles as in `camera`.

    Args:
        azimuth_deg: 0 front, 90 the person's left side, 180 back, for an athlete with heading 0.
        elevation_deg: Above the horizontal.
        distance_m: To the target; default as far as everybody fits into the picture.
        fov_deg: Vertical angle of view.
        roll_deg: Turn around the optical axis.
        pan_deg_per_s: Slow turn to the right; at most 120 degrees over the clip.
        target_m: (x, y, z) in the middle of the picture at time 0; default the middle of everybody.
    """

    azimuth_deg: float = 0.0
    elevation_deg: float = 8.0
    distance_m: float | None = None
    fov_deg: float = 40.0
    roll_deg: float = 0.0
    pan_deg_per_s: float = 0.0
    target_m: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        require_range(self, "azimuth_deg", -360.0, 360.0)
        require_range(self, "elevation_deg", -30.0, 85.0)
        require_range(self, "fov_deg", 10.0, 100.0)
        require_range(self, "roll_deg", -180.0, 180.0)
        require_range(self, "pan_deg_per_s", -30.0, 30.0)
        if self.distance_m is not None:
            require_range(self, "distance_m", 0.8, 50.0)
        require(self.target_m is None or len(self.target_m) == 3, f"CameraSpec.target_m must be (x, y, z), got {self.target_m!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """Properties of the picture.

    Args:
        width, height: px.
        fps: Frames per second.
        rate_jitter: Variable frame rate: each time lies up to half of this share of a frame away from its place, 0..0.9.
        antialias: Smooth edges (about a third of a frame's cost).
        noise_sigma: Standard deviation of the sensor's noise in grey levels.
        motion_blur: Share of the frame time that the shutter is open, 0 = none.
        blur_samples: Pictures averaged for motion blur; a frame costs that many times as much.
        low_light: 0 = bright day; 1 = dark room: dimmer by up to 12 times, with shot noise.
        gamma: Tone curve, above 1 darkens.
        jpeg_quality: Compress each picture, 1..100; default not at all.
        crf: Quality of a written clip, 0 best .. 51 worst.
    """

    width: int = 640
    height: int = 480
    fps: float = 30.0
    rate_jitter: float = 0.0
    antialias: bool = True
    noise_sigma: float = 0.0
    motion_blur: float = 0.0
    blur_samples: int = 4
    low_light: float = 0.0
    gamma: float = 1.0
    jpeg_quality: int | None = None
    crf: int = 18

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            value = getattr(self, name)
            require(isinstance(value, int) and 16 <= value <= 8192, f"ImageSpec.{name} must be 16..8192 px, got {value!r}")
        require_range(self, "fps", 0.5, 480.0)
        require_range(self, "rate_jitter", 0.0, 0.9)
        require_range(self, "noise_sigma", 0.0, 100.0)
        require_range(self, "motion_blur", 0.0, 1.0)
        require_range(self, "low_light", 0.0, 1.0)
        require_range(self, "gamma", 0.2, 5.0)
        ok = isinstance(self.blur_samples, int) and 2 <= self.blur_samples <= 32
        require(ok, f"ImageSpec.blur_samples must be 2..32, got {self.blur_samples!r}")
        if self.jpeg_quality is not None:
            require_range(self, "jpeg_quality", 1, 100)
        require_range(self, "crf", 0, 51)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomSpec:
    """What stands around the athletes.

    Args:
        floor: Kind of floor.
        floor_colour, wall_colour: Colours.
        light_azimuth_deg: Direction of the light around the vertical, from the camera's; positive to the camera's right.
        light_elevation_deg: Height of the light.
        size_m: Edge of the square room; default large enough for everybody.
        posters: Things on the walls.
    """

    floor: Literal["wood", "tiles", "rubber"] = "wood"
    floor_colour: str = "#a98358"
    wall_colour: str = "#d5d2c8"
    light_azimuth_deg: float = 35.0
    light_elevation_deg: float = 58.0
    size_m: float | None = None
    posters: bool = True

    def __post_init__(self) -> None:
        require_choice(self, "floor", ("wood", "tiles", "rubber"))
        require_colours(self, "floor_colour", "wall_colour")
        require_range(self, "light_azimuth_deg", -180.0, 180.0)
        require_range(self, "light_elevation_deg", 20.0, 90.0)
        if self.size_m is not None:
            require_range(self, "size_m", 3.0, 100.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneSpec:
    """Everything there is to know about a scene; the same spec gives the same bytes.

    Args:
        athletes: Who is there.
        camera: Where it is seen from.
        image: How the picture is taken.
        room: Where it happens.
        duration_s: Length; default until the last motion ends.
        seed: Of everything random: noise, rate jitter, tempo jitter, gestures, textures.
        name: Stream id of the frames.
    """

    athletes: tuple[AthleteSpec, ...] = (AthleteSpec(),)
    camera: CameraSpec = CameraSpec()
    image: ImageSpec = ImageSpec()
    room: RoomSpec = RoomSpec()
    duration_s: float | None = None
    seed: int = 0
    name: str = "synthetic"

    def __post_init__(self) -> None:
        require(isinstance(self.seed, int) and self.seed >= 0, f"SceneSpec.seed must be 0 or more, got {self.seed!r}")
        if self.duration_s is not None:
            require_range(self, "duration_s", 0.01, 86400.0)
        ids = self.track_ids
        require(len(set(ids)) == len(ids), f"SceneSpec.athletes share a track_id: {list(ids)}")

    @property
    def track_ids(self) -> tuple[int, ...]:
        """Identity of each athlete."""
        return tuple(a.track_id if a.track_id is not None else i + 1 for i, a in enumerate(self.athletes))
