"""The fixed grid of boxes that the person detector's outputs are relative to.

Single Shot Detector anchors (W. Liu et al., 2016) in the reduced form that MediaPipe's graph asks for:
two square anchors of unit size per cell and layer, layers of equal stride merged, so that only the
centres matter.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

INPUT_PX = 224
STRIDES_PX = (8, 16, 32, 32, 32)
ANCHORS_PER_CELL_AND_LAYER = 2


@cache
def anchor_centres() -> NDArray[np.float32]:
    """(2254, 2) anchor centres x, y in 0..1 of the detector's square input, in the order of its outputs.

    Example:
        >>> anchor_centres().shape
        (2254, 2)
        >>> anchor_centres()[0].tolist()  # half a cell of 8 px in 224 px
        [0.01785714365541935, 0.01785714365541935]
    """
    grids = []
    for stride in dict.fromkeys(STRIDES_PX):
        cells = -(-INPUT_PX // stride)
        centre = (np.arange(cells) + 0.5) / cells
        y, x = np.meshgrid(centre, centre, indexing="ij")
        grid = np.stack([x.ravel(), y.ravel()], axis=1)
        grids.append(np.repeat(grid, ANCHORS_PER_CELL_AND_LAYER * STRIDES_PX.count(stride), axis=0))
    centres = np.concatenate(grids).astype(np.float32)
    centres.setflags(write=False)
    return centres
