"""The result of an analysis, with the verbs a user expects of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pose_analyzer import reporting
from shared_utils.data_models import Session

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
