"""The form of messages between the service and a measuring process.

A message is two lengths of 4 bytes each (big-endian: header, payload), a header (JSON, UTF-8) and a payload of bytes.
Both sides check lengths before they ask for memory, so that a process that writes garbage costs itself and nothing else.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

from pose_analyzer.errors import WorkerError

MAX_HEADER_BYTES = 8 * 2**20
MAX_PAYLOAD_BYTES = 64 * 2**20
LENGTHS = struct.Struct(">II")
"""The two lengths that begin every message."""


def encode(header: Mapping[str, Any], payload: bytes = b"") -> bytes:
    r"""One message as bytes.

    Args:
        header: Plain JSON types, with a text under "type"; no NaN (missing is null).
        payload: Whatever belongs to it, such as an encoded picture.

    Raises:
        WorkerError: It is too large, or holds what JSON does not.

    Example:
        >>> encode({"type": "stop"})
        b'\x00\x00\x00\x0f\x00\x00\x00\x00{"type":"stop"}'
    """
    text = to_json(header).encode()
    if len(text) > MAX_HEADER_BYTES or len(payload) > MAX_PAYLOAD_BYTES:
        raise WorkerError(
            f"a message has at most {MAX_HEADER_BYTES} + {MAX_PAYLOAD_BYTES} bytes of header and payload, got {len(text)} + {len(payload)}"
        )
    return LENGTHS.pack(len(text), len(payload)) + text + payload


def to_json(value: Any) -> str:
    """A value of plain types as compact, strict JSON.

    Raises:
        WorkerError: It holds what JSON does not.

    Example:
        >>> to_json({"angle": None, "count": 3})
        '{"angle":null,"count":3}'
    """
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise WorkerError(f"a message holds what JSON does not: {error}") from error


def decode_lengths(data: bytes) -> tuple[int, int]:
    """Length of header and payload in bytes, from the first 8 bytes of a message.

    Raises:
        WorkerError: They are absurd: this is no message.
    """
    header, payload = LENGTHS.unpack(data)
    if not 2 <= header <= MAX_HEADER_BYTES or payload > MAX_PAYLOAD_BYTES:
        raise WorkerError(f"no message: it announces {header} bytes of header and {payload} of payload")
    return header, payload


def decode_header(data: bytes) -> dict[str, Any]:
    """The header of a message.

    Raises:
        WorkerError: It is no JSON object with a text under "type".
    """
    try:
        header = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise WorkerError(f"no message: its header is no JSON ({type(error).__name__})") from None
    if not isinstance(header, dict) or not isinstance(header.get("type"), str):
        raise WorkerError("no message: its header is no object with a type")
    return header
