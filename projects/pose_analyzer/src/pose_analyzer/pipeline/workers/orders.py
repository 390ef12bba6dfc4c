"""What a measuring process of a stream is told to do: where pictures come from, and how they are measured.

Orders come from the service, not from its clients; they are checked nevertheless, so that a mistake has a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pose_analyzer.detection import PoseDetector
from pose_analyzer.errors import WorkerError
from pose_analyzer.pipeline.stream import Pipeline, make_detector
from pose_analyzer.settings import PoseSettings, load_pose_settings


class _Order(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


OrderT = TypeVar("OrderT", bound=_Order)


class DemoInput(_Order):
    """The built-in athlete."""

    kind: Literal["demo"]


class CameraInput(_Order):
    """A camera: an address or a webcam's number."""

    kind: Literal["camera"]
    address: str | int
    open_timeout_s: float = Field(default=10.0, gt=0)
    read_timeout_s: float = Field(default=5.0, gt=0)
    retry_first_s: float = Field(default=0.5, ge=0)
    retry_longest_s: float = Field(default=10.0, ge=0)


class FileInput(_Order):
    """A recording at its natural pace."""

    kind: Literal["file"]
    path: str
    loop: bool = False
    pace: float = Field(default=1.0, gt=0)
    decode_threads: int = Field(default=1, ge=0, le=64)


class MeasureOrder(_Order):
    """How to measure.

    Args:
        stream_id: Name in events.
        exercise: Profile to count by; None counts nothing.
        max_people: Most people measured in one picture; None takes the setting.
        threads: Inference threads. One: several streams share the cores better than they divide them.
        precision: What the networks compute in; None takes the detector's own.
        max_pixels: Largest picture that is decoded, px.
    """

    stream_id: str
    exercise: str | None = None
    max_people: int | None = Field(default=None, ge=1, le=64)
    threads: int = Field(default=1, ge=1, le=256)
    precision: Literal["f32", "bf16"] | None = None
    max_pixels: int = Field(default=3840 * 2160, ge=1)

    def settings(self) -> PoseSettings:
        """The settings in force, with this order's on top."""
        wanted = {"detection.threads": self.threads, "detection.max_people": self.max_people, "exercise.name": self.exercise}
        return load_pose_settings(overrides={key: value for key, value in wanted.items() if value is not None})

    def build(self, warm: PoseDetector | None) -> Pipeline:
        """A pipeline for this order, on the warm detector where it fits."""
        settings = self.settings()
        return Pipeline(settings, detector=self._detector(settings, warm), stream_id=self.stream_id)

    def _detector(self, settings: PoseSettings, warm: PoseDetector | None) -> PoseDetector:
        if self.precision is not None and settings.detection.name == "blazepose":
            return make_detector(settings, precision=self.precision)
        is_default = settings.detection == load_pose_settings(overrides={"detection.threads": 1}).detection
        return warm if warm is not None and is_default else make_detector(settings)


class StreamOrder(MeasureOrder):
    """Measure a source until it ends or a stop is asked for."""

    source: Annotated[DemoInput | CameraInput | FileInput, Field(discriminator="kind")]


class PushOrder(MeasureOrder):
    """Measure pictures as they are sent.

    Args:
        mirror: The pictures are mirrored, as front cameras do: left and right are told apart as in the person.
    """

    mirror: bool = False


def read_order(kind: type[OrderT], data: Mapping[str, Any]) -> OrderT:
    """An order from its message.

    Raises:
        WorkerError: A part is missing or wrong; the text names it, not its value.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        places = ", ".join(f"{'.'.join(map(str, e['loc']))} ({e['msg']})" for e in error.errors(include_input=False, include_url=False))
        raise WorkerError(f"the order is wrong at {places}") from None
