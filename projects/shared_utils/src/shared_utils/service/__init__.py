"""The HTTP service that both APIs share: health, metrics, errors, token, limits, offline documentation.

`create_service` makes a FastAPI application around the caller's routers; `run_service` serves it and
stops it gracefully; `WebPage` is a page that such a service hands out. Bound to this machine it needs no
token; bound to anything else it refuses to work without one.
"""

from shared_utils.service.app import ReadinessCheck, create_service
from shared_utils.service.command import ENV_PREFIX, serve_command
from shared_utils.service.local import local_client
from shared_utils.service.page import WebPage
from shared_utils.service.problems import Problem
from shared_utils.service.run import run_service
from shared_utils.service.settings import ServiceSettings

__all__ = [
    "ENV_PREFIX",
    "Problem",
    "ReadinessCheck",
    "ServiceSettings",
    "WebPage",
    "create_service",
    "local_client",
    "run_service",
    "serve_command",
]
