"""Recordings fetched from the web: from hosts on a list, up to a size, without a word about credentials.

Only bytes are moved here; whether they are a video is found out by decoding them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path
from threading import Event as Flag
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from pose_analyzer.errors import MissingSourceError, SourceError, UnreadableSourceError
from pose_analyzer.pipeline.analyze import Abandon
from pose_analyzer.video import Address, redact_url

if TYPE_CHECKING:
    import httpx

_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_ADDRESS = 4096
_MAX_REDIRECTS = 5
_REDIRECTS = {301, 302, 303, 307, 308}
_CONNECT_S, _SILENCE_S, _WHOLE_S = 10.0, 30.0, 3600.0


class AddressError(SourceError, ValueError):
    """A text is no address of a recording on the web."""


class ForeignHostError(SourceError):
    """An address, or what it leads on to, is on a host that is not on the list."""


class TooManyBytesError(SourceError):
    """A recording is larger than it may be."""


class Stopped(Abandon):
    """The service wants an end."""


def check_address(url: str, hosts: Collection[str]) -> str:
    """Make sure that a recording may be fetched from an address.

    Args:
        url: http or https.
        hosts: Names that may be addressed: `host` at the scheme's own port, `host:port` at that one.

    Returns:
        The address.

    Raises:
        AddressError: It is no address of http or https.
        ForeignHostError: Its host is not on the list.

    Example:
        >>> check_address("https://videos.example.org/squat.mp4", ["videos.example.org"])
        'https://videos.example.org/squat.mp4'
        >>> check_address("http://169.254.169.254/", ["videos.example.org"])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        pose_analyzer.pipeline.workers.fetching.ForeignHostError: recordings are not fetched from 169.254.169.254, ...
    """
    if len(url) > _MAX_ADDRESS or not url.isascii() or any(c <= " " for c in url):
        raise AddressError(f"an address has at most {_MAX_ADDRESS} characters, ASCII without spaces; percent-encode others")
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme.lower(), (parts.hostname or "").rstrip("."), parts.port
    except ValueError as error:
        raise AddressError(f"this is no address ({error}); write https://host/path") from None
    if scheme not in _DEFAULT_PORTS or not host:
        raise AddressError("recordings are fetched by http and https; write https://host/path")
    listed = {entry.lower() for entry in hosts}
    name = f"[{host}]" if ":" in host else host
    port = _DEFAULT_PORTS[scheme] if port is None else port
    if f"{name}:{port}" not in listed and not (name in listed and port == _DEFAULT_PORTS[scheme]):
        raise ForeignHostError(f"recordings are not fetched from {name}, port {port}; the service's settings list the hosts (url_hosts)")
    return url


def fetch(
    url: str,
    target: Path,
    *,
    hosts: Collection[str],
    max_bytes: int,
    stop: Flag,
    progress: Callable[[int, int | None], None] = lambda _done, _total: None,
) -> int:
    """Fetch a recording into a file.

    Args:
        url: Its address; further addresses that it leads to must be on listed hosts too.
        target: Where to; what is there already is replaced.
        hosts: As for `check_address`.
        max_bytes: Largest size.
        stop: Set by somebody who does not want it any more.
        progress: Called with bytes so far and in all, None where the host does not say.

    Returns:
        Its size in bytes.

    Raises:
        ForeignHostError: It leads to a host that is not listed.
        TooManyBytesError: It is larger than `max_bytes`.
        MissingSourceError: The host does not answer, breaks off, or has no such recording.
        UnreadableSourceError: The host wants (other) credentials.
        Stopped: `stop` was set.
    """
    import httpx

    shown = Address.parse(url)
    deadline_s = time.monotonic() + _WHOLE_S
    try:
        # Compressed transfer is not asked for: a few bytes must not become many.
        headers = {"Accept-Encoding": "identity", "User-Agent": "pose-analyzer"}
        with (
            httpx.Client(headers=headers, timeout=httpx.Timeout(_SILENCE_S, connect=_CONNECT_S)) as client,
            _final(client, url, hosts) as answer,
        ):
            stated = answer.headers.get("content-length", "")
            total = int(stated) if stated.isdecimal() else None
            _check_size(total or 0, max_bytes)
            done = 0
            with target.open("wb") as file:
                for chunk in answer.iter_raw():
                    done += len(chunk)
                    _check_size(done, max_bytes)
                    if stop.is_set():
                        raise Stopped
                    if time.monotonic() > deadline_s:
                        raise MissingSourceError(
                            f"{shown.shown}: was not here after {_WHOLE_S / 60:g} min; download it and upload the file"
                        )
                    file.write(chunk)
                    progress(done, total)
            return done
    except httpx.HTTPError as error:
        why = shown.clean(str(error)) or type(error).__name__
        raise MissingSourceError(f"{shown.shown}: cannot be fetched ({why}); check the address") from None


class _final:  # used as a with statement
    """The answer at the end of the redirects, as a context manager."""

    def __init__(self, client: httpx.Client, url: str, hosts: Collection[str]) -> None:
        self._client, self._url, self._hosts = client, url, hosts
        self._answer: httpx.Response | None = None

    def __enter__(self) -> httpx.Response:
        url = self._url
        for _ in range(_MAX_REDIRECTS + 1):
            check_address(url, self._hosts)
            answer = self._client.send(self._client.build_request("GET", url), stream=True)
            if answer.status_code not in _REDIRECTS:
                self._answer = answer
                _check_status(answer, redact_url(self._url))
                return answer
            answer.close()
            onward = urljoin(url, answer.headers.get("location", ""))
            if url.lower().startswith("https:") and not onward.lower().startswith("https:"):
                raise ForeignHostError(f"{redact_url(self._url)}: leads from https to an address without encryption")
            url = onward
        raise MissingSourceError(f"{redact_url(self._url)}: leads on and on, more than {_MAX_REDIRECTS} times")

    def __exit__(self, *_: object) -> None:
        if self._answer is not None:
            self._answer.close()


def _check_status(answer: httpx.Response, shown: str) -> None:
    if answer.status_code in (401, 403):
        answer.close()
        raise UnreadableSourceError(
            f"{shown}: the host refuses access (status {answer.status_code}); check the address and its credentials"
        )
    if answer.status_code != 200:
        answer.close()
        raise MissingSourceError(f"{shown}: the host answers with status {answer.status_code} instead of a recording; check the address")


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise TooManyBytesError(f"the recording is larger than the {max_bytes} bytes that are let in (max_upload_bytes)")
