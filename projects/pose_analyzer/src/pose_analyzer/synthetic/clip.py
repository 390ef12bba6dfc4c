"""Scenes as video files with their truth beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pose_analyzer.synthetic.scene import Scene
from pose_analyzer.synthetic.truth import Truth, save_truth

Progress = Callable[[int, int], None]


def write_clip(scene: Scene, path: str | Path, *, progress: Progress | None = None) -> Path:
    """Writes a scene as H.264 MP4, and its truth as `NAME.truth.npz` and `NAME.truth.json` beside it.

    Every frame of the clip has the timestamp of its truth.

    Args:
        scene: What to film.
        path: Of the clip, for example `squat.mp4`.
        progress: Called with frames done and frames in total.

    Returns:
        The clip's path.

    Raises:
        OSError: The files cannot be written.
    """
    from pose_analyzer.video import VideoWriter

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = scene.spec.image
    truths: list[Truth] = []
    fps = None if image.rate_jitter else image.fps
    with VideoWriter(path, width=image.width, height=image.height, fps=fps, crf=int(image.crf)) as writer:
        for frame, truth in scene:
            writer.write(frame.image, frame.timestamp_s)
            truths.append(truth)
            if progress is not None:
                progress(len(truths), len(scene))
    truth = scene.clip_truth(iter(truths))
    save_truth(path.with_suffix(".truth.npz"), truth)
    save_truth(path.with_suffix(".truth.json"), truth)
    return path


def synthesize(spec_path: str | Path, out_path: str | Path, *, progress: Progress | None = None) -> Path:
    """Films the scene that a YAML file describes; see `write_clip` for what it writes.

    Raises:
        SceneError: The file does not describe a scene.
        OSError: The files cannot be written.
    """
    return write_clip(Scene.from_yaml(spec_path), out_path, progress=progress)
