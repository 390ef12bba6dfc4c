"""The nouns that every room passes on: `Frame`, `Poses`, `Angles`, `Event`, `Series`, `Session`."""

from shared_utils.data_models.angles import Angles
from shared_utils.data_models.event import Event, EventType
from shared_utils.data_models.frame import Frame
from shared_utils.data_models.poses import Origin, Poses
from shared_utils.data_models.series import Series
from shared_utils.data_models.session import SCHEMA_VERSION, Session

__all__ = ["SCHEMA_VERSION", "Angles", "Event", "EventType", "Frame", "Origin", "Poses", "Series", "Session"]
