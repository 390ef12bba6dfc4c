"""What a user may name as a source: a path, the address of a stream, or a webcam; and how to show it without credentials."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from pose_analyzer.errors import MissingSourceError
from shared_utils.redaction import MASK, is_secret_key, redact

STREAM_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "tcp", "srt", "rtp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One source, named.

    Args:
        kind: Whether it is a path, the address of a stream, or a webcam.
        value: What opens it: the path, the full address (credentials included), or the webcam's number or device.
        shown: What may stand in a message or a log.

    Example:
        >>> Address.parse("rtsp://admin:secret@10.0.0.7/ch1").shown
        'rtsp://10.0.0.7/ch1'
        >>> Address.parse(0).kind, Address.parse("squat.mp4").kind
        ('webcam', 'path')
    """

    kind: Literal["path", "url", "webcam"]
    value: str
    shown: str

    @classmethod
    def parse(cls, spec: str | Path | int) -> Address:
        """Read what the user wrote.

        Args:
            spec: A path, `file://` or stream address, a webcam's number, "webcam:NUMBER" or "webcam:DEVICE".

        Raises:
            MissingSourceError: It is empty, negative, or of a scheme that is not known.
        """
        if isinstance(spec, int) and not isinstance(spec, bool):
            if spec < 0:
                raise MissingSourceError(f"webcams are numbered from 0, got {spec}")
            return cls(kind="webcam", value=str(spec), shown=f"webcam {spec}")
        if isinstance(spec, Path):
            return cls(kind="path", value=str(spec), shown=str(spec))
        if not isinstance(spec, str) or not spec.strip():
            raise MissingSourceError(f"a source is a path, an address such as rtsp://camera/stream, or a webcam's number; got {spec!r}")
        if spec.startswith("webcam:"):
            device = spec.removeprefix("webcam:") or "0"
            return cls(kind="webcam", value=device, shown=f"webcam {device}")
        scheme = re.match(r"(?i)([a-z][a-z0-9+.-]+)://", spec)
        if scheme is None:
            if spec.isdecimal() and not Path(spec).exists():
                return cls.parse(int(spec))
            return cls(kind="path", value=spec, shown=spec)
        return cls._from_url(spec, scheme.group(1).lower())

    @classmethod
    def _from_url(cls, url: str, scheme: str) -> Address:
        if scheme == "file":
            path = unquote(url[len("file://") :])
            return cls(kind="path", value=path, shown=path)
        if scheme not in STREAM_SCHEMES:
            raise MissingSourceError(f"{redact_url(url)}: {scheme}:// is not known; known are {', '.join(STREAM_SCHEMES)} and plain paths")
        return cls(kind="url", value=url, shown=redact_url(url))

    @property
    def stream_id(self) -> str:
        """A short id made from the name: the stem of a file, the host and path of a stream."""
        if self.kind == "webcam":
            return "webcam-" + self.value.rsplit("/", 1)[-1]
        if self.kind == "url":
            return self.shown.split("://", 1)[1].split("?", 1)[0].strip("/")
        path = Path(self.value)
        return path.stem or path.resolve().name or "stream"

    def clean(self, text: str) -> str:
        """`text` without the credentials that it may quote from this address."""
        if self.kind != "url":
            return text
        text = redact(text.replace(self.value, self.shown))
        for secret in _secrets(self.value):
            text = text.replace(secret, MASK)
        return text


def redact_url(url: str) -> str:
    """The address without user name, password and secret-looking query values.

    Args:
        url: An address; anything that is none comes back as it is.

    Example:
        >>> redact_url("http://u:p@cam/video?token=abc&channel=2")
        'http://cam/video?token=***&channel=2'
    """
    return redact(url).replace(f"{MASK}@", "", 1)


def _secrets(url: str) -> list[str]:
    """Every spelling of the credentials in `url`, longest first; too short ones would blank ordinary words."""
    # By hand: urlsplit refuses the square brackets that some passwords hold.
    authority, _, rest = url.partition("://")[2].partition("/")
    user_info = authority.rpartition("@")[0]
    found = {user_info, user_info.partition(":")[2]}
    pairs = (pair.partition("=") for pair in rest.partition("?")[2].split("&"))
    found |= {value for key, _, value in pairs if is_secret_key(key)}
    found |= {unquote(secret) for secret in found}
    return sorted((secret for secret in found if len(secret) >= 3), key=len, reverse=True)
