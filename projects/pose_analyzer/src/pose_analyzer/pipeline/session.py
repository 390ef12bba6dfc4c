"""The result of an analysis, with the verbs a user expects of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pose_analyzer import reporting
from shared_utils.data_models import Session

if TYPE_CHECKING:
    import supervision as sv
    from matplotlib.figure import Figure
    from ultralytics.engine.results import Results

    from pose_analyzer.reporting import FramePeople


@dataclass(frozen=True, kw_only=True)
class PoseSession(Session):
    """A `Session` that can plot, print and save itself.

    Example:
        >>> session = PoseSession(source="clip.mp4")
        >>> session.repetition_count
        0
    """

    def plot(self, path: str | Path | None = None, *, track_id: int | None = None, angles: Sequence[str] | None = None) -> Figure:
        """Angles over time with repetition marks; also written to `path` as PNG if given.

        Args:
            path: Where to write it.
            track_id: Whose angles; default: who has most repetitions.
            angles: Joints, for example `["knee_flexion"]`; default: the four that moved most.
        """
        figure = reporting.plot_session(self, track_id=track_id, angles=angles)
        if path is not None:
            figure.savefig(path, dpi=110, metadata={"Software": None}, format="png")
        return figure

    def save(self, folder: str | Path) -> list[Path]:
        """Write `result.json`, `series.parquet`, `series.csv` and `events.csv` into a folder."""
        return reporting.save_session(self, folder)

    def export(self, path: str | Path, *, format: str, **options: Any) -> list[Path]:  # noqa: A002 - the word everybody uses
        """Write it in another tool's format: csv, parquet, json, coco, mot, trc, opensim-mot.

        Args:
            path: File to write.
            format: Which.
            **options: Fields of `reporting.ExportOptions`, for example `track_id=2`, `units="mm"`.

        Raises:
            ChoiceError: The format or an option does not exist, or the session lacks what is needed.
            SinkError: The file cannot be written.
        """
        return reporting.export_session(self, path, format=format, **options)

    def people(self) -> Iterator[FramePeople]:
        """The people of each frame that shows somebody, as `Poses`.

        Raises:
            ChoiceError: Keypoints were not kept.
        """
        return reporting.frames_of(self.series)

    def to_supervision(self) -> Iterator[tuple[FramePeople, sv.KeyPoints, sv.Detections]]:
        """The people of each frame as supervision's objects."""
        return reporting.to_supervision(self.series)

    def to_ultralytics(self) -> Iterator[Results]:
        """The people of each frame as ultralytics' `Results`."""
        return reporting.to_ultralytics(self)

    @classmethod
    def load(cls, folder: str | Path) -> PoseSession:
        """Read what `save` wrote.

        Raises:
            PoseAnalyzerError: No result there, or a damaged one.
        """
        session = reporting.load_session(folder)
        return cls(**{name: getattr(session, name) for name in Session.__dataclass_fields__})

    def summary(self) -> str:
        """The summary table as text of 100 columns."""
        from io import StringIO

        from rich.console import Console

        out = StringIO()
        Console(file=out, width=100, no_color=True).print(reporting.summary_table(self))
        return out.getvalue()
