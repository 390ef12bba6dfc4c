"""The weights this project knows: what they are, where they lie and how to get them.

A name goes in (`"blazepose_detector"`), a file comes out. `find_model` never downloads; it looks at an
explicit path, in `$POSE_MODELS_DIR` or the user's cache folder, and inside installed wheels. `fetch`
downloads once, resumes, and keeps nothing whose SHA-256 is wrong.
"""

from shared_utils.models.entry import ModelEntry, ModelTask
from shared_utils.models.fetch import fetch
from shared_utils.models.locate import file_sha256, find_model, models_dir, verify
from shared_utils.models.registry import get_model, list_models, load_registry

__all__ = [
    "ModelEntry",
    "ModelTask",
    "fetch",
    "file_sha256",
    "find_model",
    "get_model",
    "list_models",
    "load_registry",
    "models_dir",
    "verify",
]
