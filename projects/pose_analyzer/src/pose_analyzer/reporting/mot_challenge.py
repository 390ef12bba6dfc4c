"""MOT Challenge text: one line per person and frame, frames and ids from 1, no header.

A result has `frame,id,left,top,width,height,confidence,-1,-1,-1`; ground truth has `frame,id,left,top,width,height,considered,
class,visibility` with class 1 (pedestrian). Frame numbers are the source's plus one, whatever stride it was analysed with.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pose_analyzer.reporting.people import picture_size
from shared_utils.data_models import Series, Session

_SEEN = 0.5


def mot_challenge_text(series: Series, *, ground_truth: bool = False) -> str:
    r"""Everybody's boxes.

    Args:
        series: Rows with boxes. Rows without a track id (-1) are left out. Should ids begin at 0, all are raised by one.
        ground_truth: Write the columns of a `gt.txt`; visibility is the share of keypoints with a confidence of 0.5 or more.

    Example:
        >>> columns = {"frame_index": [0], "track_id": [1], "score": [0.9]}
        >>> box = {f"box_{k}_px": [v] for k, v in zip(("x1", "y1", "x2", "y2"), (10, 20, 40, 100))}
        >>> mot_challenge_text(Series({k: np.array(v, float) for k, v in (columns | box).items()}))
        '1,1,10.00,20.00,30.00,80.00,0.9000,-1,-1,-1\n'
    """
    if len(series) == 0:
        return ""
    series = series.where(series["track_id"] >= 0)
    frames = series["frame_index"].astype(np.int64) + 1
    ids = series["track_id"].astype(np.int64)
    ids = ids + 1 if len(ids) and ids.min() == 0 else ids
    x1, y1, x2, y2 = (series[f"box_{k}_px"].astype(np.float64) for k in ("x1", "y1", "x2", "y2"))
    order = np.lexsort((ids, frames))
    numbers = zip(frames.tolist(), ids.tolist(), x1.tolist(), y1.tolist(), (x2 - x1).tolist(), (y2 - y1).tolist(), strict=True)
    places = [f"{f},{i}," + ",".join(f"{v:.2f}" for v in box) for f, i, *box in numbers]
    if ground_truth:
        ends = [f"1,1,{v:.4f}" for v in _visible_share(series).tolist()]
    else:
        ends = [f"{v:.4f},-1,-1,-1" for v in series["score"].tolist()]
    return "".join(f"{places[i]},{ends[i]}\n" for i in order)


def seqinfo_text(session: Session, *, size: tuple[int, int] | None = None) -> str:
    """The `seqinfo.ini` that evaluation tools want beside a sequence.

    Args:
        session: Whose source.
        size: (width, height) px, where the session does not know it.

    Raises:
        ChoiceError: The size is unknown.
    """
    width, height = picture_size(session, size)
    frames = session.series["frame_index"] if "frame_index" in session.series else np.zeros(0)
    length = max(int(session.source_info.get("frame_count") or 0), session.frames, int(frames.max()) + 1 if len(frames) else 0)
    measured = (session.frames - 1) / session.duration_s if session.duration_s > 0 else 30.0
    rate = float(session.source_info.get("nominal_fps") or measured)
    facts = {"name": Path(session.source).stem, "imDir": "img1", "frameRate": f"{rate:g}", "seqLength": length}
    facts |= {"imWidth": width, "imHeight": height, "imExt": ".jpg"}
    return "[Sequence]\n" + "".join(f"{k}={v}\n" for k, v in facts.items())


def _visible_share(series: Series) -> np.ndarray:
    """(rows,) share of keypoints that were seen; 1 where no keypoints were kept."""
    confidence = [series[n] for n in series if n.endswith("_confidence")]
    return (np.stack(confidence) >= _SEEN).mean(0) if confidence else np.ones(len(series))
