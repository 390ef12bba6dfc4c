"""Any pose detector, helped with people who are small in the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.detection.base import FollowingDetector, PoseDetector, check_images, in_waves
from pose_analyzer.detection.scale.merge import body_px, merge_poses, seen_again, without_known, without_twins
from pose_analyzer.detection.scale.search import ScaleMode, SearchPlan, StreamSearch
from pose_analyzer.detection.scale.sizes import NEUTRAL, PROFILES, ScaleProfile
from pose_analyzer.detection.scale.tiles import Tile
from pose_analyzer.errors import DetectorError
from shared_utils.data_models import Poses
from shared_utils.skeletons import Skeleton

Image = NDArray[np.uint8]

_LEAST_PERSON_PX = 16.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Traits:
    """What is known of a detector.

    Args:
        reach: Share of a picture's side that a person must fill to be found surely; measured on the athlete.
        input_px: Side of the network's picture; None when keypoints are measured in a picture of the person alone.
        zoom_to_px: Larger tiles bring nothing.
        squares: See `SearchPlan`.
    """

    reach: float = 0.25
    input_px: int | None = 640
    zoom_to_px: int = 640
    squares: bool = False


_TRAITS = {
    "blazepose": _Traits(reach=0.31, input_px=None, zoom_to_px=512, squares=True),
    "mediapipe": _Traits(reach=0.31, input_px=None, zoom_to_px=512),
    "yolo": _Traits(reach=0.16, input_px=640, zoom_to_px=640),
}


class MultiScaleDetector:
    """A detector that also finds people who are too small for another one.

    The whole picture goes to the inner detector as ever. Beside it, tiles (`scale.tiles`) are cut out, enlarged and detected as
    pictures of their own, all those of a call in one batch; `scale.search` says which and when. Then

    - an inner detector that follows people (`FollowingDetector`, BlazePose) is told about whoever is new: it looks at them twice in
      the whole picture, which a part of a body or a thing on the wall does not survive, and follows them from there, so that tiles
      cost nothing for people who are known;
    - for any other, each person known to be small gets a tile in every frame, and what the tiles and the whole picture say is merged
      by weighted box fusion and object keypoint similarity (`scale.merge`), keypoints by inverse variance.

    Keypoint confidence and the least score of a person go by height (`scale.sizes`). People larger than `reach` of the picture come out
    as the inner detector gave them, byte for byte, while nobody is small.

    Args:
        inner: The detector; closed with this one.
        mode: `"auto"`: one tile every `probe_frames` frames while everybody is near, more while somebody is small; a still picture is
            searched when nobody was found in it or somebody small. `"on"`: every tile of every picture.
        max_people: Most people per picture; the surest stay. None = no limit but the inner detector's.
        min_person_px: Least height of a person that is looked for, px. Half of it takes four times the tiles.
        tiles_per_frame: In `"auto"`, tiles searched per frame while small people are about.
        probe_frames: In `"auto"`, frames between two tiles while everybody is near.
        hold_frames: In `"auto"`, frames for which the search stays up after the last small person.
        reach: Share of a picture's longer side that a person must fill for the inner detector to find them. Default: as measured for
            BlazePose, MediaPipe and YOLO, else 0.25.
        profile: Confidence and least score by height. Default: as measured for the inner detector, else neutral.

    Raises:
        DetectorError: A number is out of range, or `inner` is a multi-scale detector already.

    Example:
        >>> from pose_analyzer.detection import create_detector
        >>> with MultiScaleDetector(create_detector("blazepose", threads=1), min_person_px=60) as detector:
        ...     [poses] = detector.detect([np.zeros((240, 320, 3), np.uint8)])
        >>> len(poses), detector.name
        (0, 'blazepose')
    """

    def __init__(
        self,
        inner: PoseDetector,
        *,
        mode: ScaleMode = "auto",
        max_people: int | None = None,
        min_person_px: float = 40.0,
        tiles_per_frame: int = 4,
        probe_frames: int = 15,
        hold_frames: int = 90,
        reach: float | None = None,
        profile: ScaleProfile | None = None,
    ) -> None:
        if isinstance(inner, MultiScaleDetector):
            raise DetectorError("the inner detector is multi-scale already; wrap its .inner instead")
        traits = _TRAITS.get(inner.name, _Traits())
        self.inner = inner
        self._input_px = traits.input_px
        self._profile = profile or PROFILES.get(inner.name, NEUTRAL)
        self._plan = SearchPlan(
            mode=mode,
            reach=traits.reach if reach is None else reach,
            min_person_px=min_person_px,
            zoom_to_px=traits.zoom_to_px,
            squares=traits.squares,
            max_people=max_people,
            tiles_per_frame=tiles_per_frame,
            probe_frames=probe_frames,
            hold_frames=hold_frames,
        )
        self._streams: dict[str, StreamSearch] = {}

    @property
    def name(self) -> str:
        """The inner detector's."""
        return self.inner.name

    @property
    def skeleton(self) -> Skeleton:
        """The inner detector's."""
        return self.inner.skeleton

    @property
    def models(self) -> Mapping[str, str]:
        """The inner detector's."""
        return self.inner.models

    @property
    def device(self) -> Any:
        """The inner detector's, where it says."""
        return getattr(self.inner, "device", None)

    @property
    def plan(self) -> SearchPlan:
        """How it searches."""
        return self._plan

    def detect(self, images: Sequence[Image], *, stream_ids: Sequence[str] | None = None) -> list[Poses]:
        """The people of each image.

        Args:
            images: (H, W, 3) uint8 RGB each; sizes may differ.
            stream_ids: Which stream each image continues; an id may come several times, in the order of time. None = unrelated
                still images.

        Returns:
            One `Poses` per image: of a following detector first those it found by itself, in its order, then newcomers by falling
            score; of any other by falling score.

        Raises:
            DetectorError: An image is not acceptable, the detector is closed, or the model fails.
        """
        check_images(images, stream_ids)
        results: list[Poses] = [Poses.empty(self.skeleton)] * len(images)
        for wave in in_waves(len(images), stream_ids):
            ids = None if stream_ids is None else [stream_ids[i] for i in wave]
            for i, poses in zip(wave, self._detect_wave([images[i] for i in wave], ids), strict=True):
                results[i] = poses
        return results if images else self.inner.detect(images, stream_ids=stream_ids)

    def forget(self, stream_id: str) -> None:
        """Drop what is known of one stream; unknown ids are fine."""
        self._streams.pop(stream_id, None)
        self.inner.forget(stream_id)

    def close(self) -> None:
        """Close the inner detector. May be called twice."""
        self._streams.clear()
        self.inner.close()

    def __enter__(self) -> MultiScaleDetector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- one picture of each stream ----------------------------------------------------------------
    def _detect_wave(self, images: list[Image], stream_ids: list[str] | None) -> list[Poses]:
        found = self.inner.detect(images, stream_ids=stream_ids)
        streams = None if stream_ids is None else [self._streams.setdefault(s, StreamSearch(self._plan)) for s in stream_ids]
        follows = isinstance(self.inner, FollowingDetector)
        views = [
            _View(image, poses, self._tiles(image, poses, None if streams is None else streams[i], follows))
            for i, (image, poses) in enumerate(zip(images, found, strict=True))
        ]
        self._read_tiles(views)
        results = self._with_newcomers(views, stream_ids) if follows else [self._merged(view) for view in views]
        results = [self._at_most(poses) for poses in results]
        for i, poses in enumerate(results):
            if streams is not None:
                streams[i].end(poses)
        return results

    def _tiles(self, image: Image, found: Poses, stream: StreamSearch | None, follows: bool) -> list[Tile]:
        height_px, width_px = image.shape[:2]
        if stream is None:
            return self._plan.still(found, width_px, height_px)
        due = stream.begin(found, image)
        if follows or self._plan.mode == "on":
            return due
        return self._plan.focus(stream.places, width_px, height_px) + due

    def _read_tiles(self, views: Sequence[_View]) -> None:
        """Detect in all tiles of all pictures at once; keep what a tile of that size can tell."""
        jobs = [(view, tile) for view in views for tile in view.tiles]
        if not jobs:
            return
        for (view, tile), poses in zip(jobs, self.inner.detect([tile.cut(view.image) for view, tile in jobs]), strict=True):
            height_px, width_px = view.image.shape[:2]
            read = tile.to_image(poses)
            heights = body_px(read)
            # Half the reach: what is smaller in a tile is a part of somebody, or noise.
            usable = heights >= max(0.5 * self._plan.reach * tile.side, _LEAST_PERSON_PX)
            if not isinstance(self.inner, FollowingDetector):
                usable &= ~tile.cuts(read.boxes_xyxy, width_px, height_px)
            view.readings.append(read[usable])
            view.sides += [tile.side] * int(usable.sum())

    def _merged(self, view: _View) -> Poses:
        """Of a detector that knows nothing from frame to frame: all that was read, one reading per person."""
        if not view.tiles:
            return self._weighed(view.found)
        readings = Poses.concatenate([view.found, *view.readings])
        sides = np.array([max(view.image.shape[:2])] * len(view.found) + view.sides, np.float64)
        return self._weighed(merge_poses(readings, self._sigmas(body_px(readings), sides)).poses)

    def _sigmas(self, heights_px: NDArray[np.float64], sides_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) px, standard deviation of the keypoints of people of these heights, seen in views of these sides.

        On the athlete a keypoint of YOLO is off by 1.8 % of the body height, and by 2 px of the network's own picture.
        """
        heights = np.maximum(heights_px, 1.0)
        own = 0.018 * heights if self._input_px is None else np.hypot(0.018 * heights, 1.9 * sides_px / self._input_px)
        return 1.5 * own

    def _with_newcomers(self, views: Sequence[_View], stream_ids: Sequence[str] | None) -> list[Poses]:
        """Of a detector that follows people: those it has, and whoever of the tiles' stands the look in the whole picture."""
        results = [self._weighed(without_twins(view.found)) for view in views]
        candidates: dict[int, Poses] = {}
        for i, view in enumerate(views):
            if view.readings:
                readings = Poses.concatenate(view.readings)
                fresh = without_known(merge_poses(readings, np.ones(len(readings)), fuse=False).poses, view.found)
                if len(fresh):
                    candidates[i] = fresh
        for i, seen in self._look(views, candidates).items():
            fresh = without_known(self._weighed(merge_poses(seen, np.ones(len(seen)), fuse=False).poses), views[i].found)
            if stream_ids is not None and len(fresh) and isinstance(self.inner, FollowingDetector):
                height_px, width_px = views[i].image.shape[:2]
                taken = self.inner.adopt(stream_ids[i], fresh, width_px=width_px, height_px=height_px)
                fresh = fresh[:taken]
            results[i] = Poses.concatenate([results[i], fresh])
        return results

    def _look(self, views: Sequence[_View], candidates: Mapping[int, Poses]) -> dict[int, Poses]:
        """Candidates measured by the inner detector in the whole pictures, in streams of their own."""
        if not candidates or not isinstance(self.inner, FollowingDetector):
            return {}
        names = {i: f"\0look {i}" for i in candidates}
        for i, poses in candidates.items():
            height_px, width_px = views[i].image.shape[:2]
            self.inner.forget(names[i])
            self.inner.adopt(names[i], poses, width_px=width_px, height_px=height_px)
        images = [views[i].image for i in candidates]
        # The first look corrects where to look, the second measures; on a thing the two do not agree.
        first, second = (self.inner.detect(images, stream_ids=list(names.values())) for _ in range(2))
        for name in names.values():
            self.inner.forget(name)
        return {i: seen_again(b, a) for i, a, b in zip(candidates, first, second, strict=True)}

    def _weighed(self, poses: Poses) -> Poses:
        return self._profile.weighed(poses, body_px(poses)) if len(poses) else poses

    def _at_most(self, poses: Poses) -> Poses:
        limit = self._plan.max_people
        if limit is None or len(poses) <= limit:
            return poses
        surest = np.sort(np.argsort(-poses.scores, kind="stable")[:limit])
        return poses[surest]


@dataclass(slots=True, eq=False)
class _View:
    """A picture, what the inner detector found in the whole of it, and what its tiles gave."""

    image: Image
    found: Poses
    tiles: list[Tile]

    readings: list[Poses] = field(default_factory=list)
    sides: list[int] = field(default_factory=list)
