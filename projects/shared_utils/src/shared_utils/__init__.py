"""The nouns and the plumbing of `pose_analyzer` and `gpu_optimizer`.

Importing this package loads numpy and nothing heavier; every room (`config`, `logging`, `devices`,
`models`, `metrics`, `service`) is imported by the code that needs it.
"""

from shared_utils.data_models import Angles, Event, EventType, Frame, Origin, Poses, Series, Session
from shared_utils.errors import SharedUtilsError, ValidationError
from shared_utils.skeletons import BLAZEPOSE_33, COCO_17, HALPE_26, Skeleton

__version__ = "0.1.0"

__all__ = [
    "BLAZEPOSE_33",
    "COCO_17",
    "HALPE_26",
    "Angles",
    "Event",
    "EventType",
    "Frame",
    "Origin",
    "Poses",
    "Series",
    "Session",
    "SharedUtilsError",
    "Skeleton",
    "ValidationError",
    "__version__",
]
