"""What an analysis left behind, read back for the store; the series stays where it is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pose_analyzer.api.job_folders import RESULT_FILE
from pose_analyzer.errors import PoseAnalyzerError
from pose_analyzer.storage import AnalysisRecord, SessionKind, SessionRecord
from shared_utils.data_models import Event
from shared_utils.errors import SharedUtilsError


@dataclass(frozen=True, slots=True)
class JobResult:
    """A finished analysis for the store.

    Args:
        session: Its row.
        events: In order.
        notes: What a reader should know.
    """

    session: SessionRecord
    events: tuple[Event, ...]
    notes: tuple[str, ...]


def read_result(folder: Path, record: AnalysisRecord, now: datetime) -> JobResult:
    """Read `result.json` of an analysis.

    Args:
        folder: Of its results.
        record: The job.
        now: When it was finished.

    Raises:
        PoseAnalyzerError: The result is damaged.
    """
    try:
        data = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
        session = SessionRecord(
            id=record.id,
            kind=SessionKind.ANALYSIS,
            name=record.name,
            exercise=record.exercise,
            started_at=record.started_at or now,
            finished_at=now,
            duration_s=float(data["duration_s"]),
            frames=int(data["frames"]),
            repetitions=int(data["repetition_count"]),
            people=len(data["people"]),
            complete=bool(data["complete"]),
            details={"source": data["source"], "models": data["models"], "software": data["software"]},
        )
        return JobResult(session, tuple(map(Event.from_dict, data["events"])), tuple(map(str, data["notes"])))
    except (OSError, KeyError, TypeError, ValueError, SharedUtilsError) as error:
        raise PoseAnalyzerError(f"the result is damaged ({type(error).__name__}); analyse the recording again") from error
