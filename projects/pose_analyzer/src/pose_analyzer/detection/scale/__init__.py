"""People who are small in the picture: tiles, merging, and when to look for them."""

from pose_analyzer.detection.scale.detector import MultiScaleDetector
from pose_analyzer.detection.scale.merge import Merged, body_px, merge_poses
from pose_analyzer.detection.scale.search import ScaleMode, SearchPlan, StreamSearch
from pose_analyzer.detection.scale.sizes import ScaleClass, ScaleProfile
from pose_analyzer.detection.scale.tiles import Tile, pyramid, tile_grid

__all__ = [
    "Merged",
    "MultiScaleDetector",
    "ScaleClass",
    "ScaleMode",
    "ScaleProfile",
    "SearchPlan",
    "StreamSearch",
    "Tile",
    "body_px",
    "merge_poses",
    "pyramid",
    "tile_grid",
]
