"""Several looks at one person: the landmark network sees the region as it is, mirrored, and both a little larger.

What a network gets wrong about a picture it gets wrong otherwise about the mirror image, so the middle of both is nearer to the
truth (test-time augmentation; for heat maps of people: Newell et al., "Stacked Hourglass Networks", ECCV 2016). Each look costs
what a person costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.detection.blazepose.decode import LANDMARK_PX, Landmarks, decode_landmarks
from pose_analyzer.detection.blazepose.network import Network
from pose_analyzer.detection.blazepose.regions import Region
from shared_utils.skeletons import BLAZEPOSE_33


@dataclass(frozen=True, slots=True)
class Look:
    """How a region is shown to the network.

    Args:
        mirrored: Left and right exchanged.
        size_ratio: Side of what is shown, in sides of the region.
    """

    mirrored: bool
    size_ratio: float

    def at(self, region: Region) -> Region:
        """What of the image is shown."""
        return region if self.size_ratio == 1.0 else replace(region, size_px=region.size_px * self.size_ratio)


_LARGER = 1.12
LOOKS: Mapping[int, tuple[Look, ...]] = {
    1: (Look(False, 1.0),),
    2: (Look(False, 1.0), Look(True, 1.0)),
    4: (Look(False, 1.0), Look(True, 1.0), Look(False, _LARGER), Look(True, _LARGER)),
}
"""By their number; the first is always the region as it is."""

_WHOLE = Region(0.5, 0.5, 1.0, 0.0)
_OTHER_SIDE = BLAZEPOSE_33.flip_indices


def measure(places: Sequence[tuple[NDArray[np.uint8], Region]], network: Network, *, looks: Sequence[Look], finer: bool) -> list[Landmarks]:
    """Landmarks of people.

    Args:
        places: Image, and the region of one person in it.
        network: The landmark network.
        looks: From `LOOKS`.
        finer: Enlarge small regions by bicubic interpolation.

    Returns:
        One per place: the middle of what the looks found. Score and the way to the next region are the first look's,
        so that people are followed alike, however often one looks.
    """
    jobs = [(image, look.at(region), look) for image, region in places for look in looks]

    def fill(job: tuple[NDArray[np.uint8], Region, Look], out: NDArray[np.uint8]) -> None:
        image, region, look = job
        region.crop(image, out, replicate=True, finer=finer)
        if look.mirrored:
            out[:] = out[:, ::-1].copy()

    def read(job: tuple[NDArray[np.uint8], Region, Look], outputs: Mapping[str, NDArray[np.float32]]) -> Landmarks:
        _, region, look = job
        seen_in = _WHOLE if look.mirrored else region
        found = decode_landmarks(outputs["landmarks"], float(outputs["score"][0]), outputs["heat"], outputs["world"], seen_in)
        return mirrored_back(found, region) if look.mirrored else found

    found = network.map(jobs, fill, read)
    n = len(looks)
    return [middle(found[i : i + n]) for i in range(0, len(found), n)]


def mirrored_back(found: Landmarks, region: Region) -> Landmarks:
    """What was found in the mirror image of a region, in the image.

    Args:
        found: With coordinates in 0..1 of the mirrored picture.
        region: What was mirrored.
    """
    points = found.xy_px[_OTHER_SIDE]
    # Pixel u shows the point u / n, so the last one comes to lie where the first was.
    points[:, 0] = (LANDMARK_PX - 1) / LANDMARK_PX - points[:, 0]
    world = found.world_xyz_m[_OTHER_SIDE] * (-1.0, 1.0, 1.0)
    return replace(
        found,
        xy_px=region.to_image(points),
        visibility=found.visibility[_OTHER_SIDE],
        presence=found.presence[_OTHER_SIDE],
        world_xyz_m=region.turn(world),
    )


def middle(found: Sequence[Landmarks]) -> Landmarks:
    """The median of looks, per coordinate; of two it is the mean. A landmark that a look misses is missing."""
    if len(found) == 1:
        return found[0]
    first = found[0]
    xy = np.median([f.xy_px for f in found], axis=0)
    world = np.median([f.world_xyz_m for f in found], axis=0)
    whole = np.isfinite(xy).all(1) & np.isfinite(world).all(1)
    xy[~whole], world[~whole] = np.nan, np.nan
    seen = np.median([f.visibility for f in found], axis=0) * whole
    inside = np.median([f.presence for f in found], axis=0) * whole
    return replace(first, xy_px=xy, visibility=seen.astype(np.float32), presence=inside.astype(np.float32), world_xyz_m=world)
