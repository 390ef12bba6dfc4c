"""Which addresses weights may be downloaded from."""

from __future__ import annotations

from urllib.parse import urlsplit

from shared_utils.addresses import is_loopback
from shared_utils.errors import ModelError


def check_url(url: str) -> None:
    """Refuse an address over which somebody else could hand in other bytes.

    Args:
        url: https with any host, or http with a loopback host (tests, local mirrors).

    Raises:
        ModelError: The address is anything else, or carries credentials.

    Example:
        >>> check_url("https://example.org/model.onnx")
        >>> check_url("http://127.0.0.1:8000/model.onnx")
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise ModelError(f"not an address to download from: {error}") from None
    if parts.username is not None or parts.password is not None:
        raise ModelError(f"the address of weights on {host} carries credentials; use an address that needs none")
    if parts.scheme == "https" and host:
        return
    if parts.scheme == "http" and is_loopback(host):
        return
    raise ModelError(f"weights are downloaded over https only (http on this machine), got {parts.scheme or 'no scheme'}://{host}")
