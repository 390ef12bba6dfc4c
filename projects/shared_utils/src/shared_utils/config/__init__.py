"""One typed tree of settings: defaults < YAML file < environment < flags.

A `SettingsModel` subclass describes the tree; `load_settings` fills it and remembers where each value
came from. An unknown key anywhere is an error that names the nearest known one and the place.
"""

from shared_utils.config.load import RESERVED_VARIABLES, load_settings, parse_override
from shared_utils.config.model import SettingsModel, Source
from shared_utils.config.show import Explained, dump_yaml, explain, settings_schema

__all__ = [
    "RESERVED_VARIABLES",
    "Explained",
    "SettingsModel",
    "Source",
    "dump_yaml",
    "explain",
    "load_settings",
    "parse_override",
    "settings_schema",
]
