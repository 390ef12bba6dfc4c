"""Take credentials out of text and values before anybody sees them.

What is taken out: user and password in addresses, secrets in query strings and assignments
(`password=...`, `"token": "..."`), `Authorization` values, and whatever stands under a key that names
a secret. Too much rather than too little: an address that cannot be told from one with a password
loses its first half.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from os import PathLike
from typing import Any

MASK = "***"
_MAX_DEPTH = 20

# Every repetition is bounded, so that hostile text costs linear time.
_NAMES = r"(?:token|passw(?:or)?d|passwd|passphrase|pwd|secret|api[_-]?key|access[_-]?key|private[_-]?key|credential|authorization)"
_NAME = rf"{_NAMES}[\w.-]{{0,40}}"
_QUERY_NAME = rf"(?:[\w.-]{{0,40}}{_NAME}|signature|sig|auth|key|pass|pw|jwt|sid|session(?:_?id)?|cookie)"
_IS = r"[\"']?\s{0,8}[=:]\s{0,8}"
# A text that was cut off may lack its closing quote.
_QUOTED = r'"(?:[^"\\]|\\.){0,4096}(?:"|$)' + r"|'(?:[^'\\]|\\.){0,4096}(?:'|$)"

# Everything up to the last @ of the authority; passwords may hold @ and quotes (RFC 3986 forbids it, cameras do not).
_USERINFO = re.compile(r"(?<=://)[^\s/?#]{0,2048}@")
# A password with a raw / ? or #: only where the part before it cannot be host:port, or where an @ in the path is unheard of.
_LOOSE_USERINFO = re.compile(r"(?<=://)[^\s/?#@:]{0,256}:(?!\d{0,5}(?:[/?#\s]|$))[^\s@]{0,2048}@(?:[^\s/?#@]{0,256}@){0,8}")
_STREAM_USERINFO = re.compile(r"\b((?:rtsp|rtmp|rtp|srt|mms|rist)[a-z]?://)\S{0,2048}@", re.IGNORECASE)
_ENCODED_USERINFO = re.compile(r"(%3A%2F%2F)[^\s&]{0,4096}%40", re.IGNORECASE)
_BARE_USERINFO = re.compile(r"(?<![\w/@:%])[\w.%+-]{1,256}:[^\s@/]{1,1024}@(?=[\w\[])")
_QUERY = re.compile(rf"([?&;](?:amp;)?{_QUERY_NAME}=)[^\s&\"']+", re.IGNORECASE)
_ENCODED_QUERY = re.compile(rf"((?:%3F|%26){_QUERY_NAME}%3D)(?:(?!%26)[^\s&\"'])+", re.IGNORECASE)
_AUTHORIZATION = re.compile(rf"(authorization{_IS})({_QUOTED}|[bf]?[\"']?[^\r\n\"',}}\])]+)", re.IGNORECASE)
_ASSIGNMENT = re.compile(rf"({_NAME}{_IS})[bfru]?({_QUOTED}|[^\s&\"',;)}}\]]+)", re.IGNORECASE)
_BEARER = re.compile(r"\b(bearer\s{1,8})[\w.~+/=-]+", re.IGNORECASE)
_BASIC = re.compile(r"\b((?i:basic|digest)\s{1,8})(?=[a-z]*[\dA-Z+/=])[\w+/=-]{6,}")
_COUNT = re.compile(r"(?:^|_)(?:tokens|token_count|tokenizer)(?:$|_)|(?:^|_)n_tokens")


def redact(text: str) -> str:
    """A text without the credentials in it; what it says otherwise stays.

    Example:
        >>> redact("cannot open rtsp://admin:hunter2@10.0.0.7:554/stream?token=abc&fps=5")
        'cannot open rtsp://***@10.0.0.7:554/stream?token=***&fps=5'
        >>> redact("Authorization: Bearer eyJhbGciOi")
        'Authorization: ***'
    """
    if "@" in text or "%40" in text:
        text = _STREAM_USERINFO.sub(rf"\g<1>{MASK}@", text)
        text = _LOOSE_USERINFO.sub(f"{MASK}@", text)
        text = _USERINFO.sub(f"{MASK}@", text)
        text = _ENCODED_USERINFO.sub(rf"\g<1>{MASK}%40", text)
        text = _BARE_USERINFO.sub(f"{MASK}@", text)
    text = _AUTHORIZATION.sub(rf"\g<1>{MASK}", text)
    text = _BEARER.sub(rf"\g<1>{MASK}", text)
    text = _BASIC.sub(rf"\g<1>{MASK}", text)
    text = _QUERY.sub(rf"\g<1>{MASK}", text)
    text = _ENCODED_QUERY.sub(rf"\g<1>{MASK}", text)
    return _ASSIGNMENT.sub(rf"\g<1>{MASK}", text)


def is_secret_key(key: str) -> bool:
    """True for a name under which a secret stands.

    Example:
        >>> [k for k in ("api_key", "dbPassword", "X-Auth-Token", "tokens", "keypoints") if is_secret_key(k)]
        ['api_key', 'dbPassword', 'X-Auth-Token']
    """
    name = key.lower().replace("-", "_")
    if _COUNT.search(name):
        return False
    return re.search(_NAMES, name) is not None or name in {"auth", "cookie", "set_cookie", "session_id", "jwt", "pin"}


def redact_value(value: Any) -> Any:
    """A value of plain types without the credentials in it, at any depth.

    Mappings, lists, tuples and sets keep their kind as dict and list; numbers, booleans and None stay;
    an object whose text would show a credential becomes that text without it.

    Example:
        >>> redact_value({"source": "http://u:p@cam/", "auth": {"password": "x"}, "n": 3})
        {'source': 'http://***@cam/', 'auth': '***', 'n': 3}
    """
    return _redact_value(value, 0)


def _redact_value(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return redact(value)
    if depth > _MAX_DEPTH:
        return "…"
    if isinstance(value, Mapping):
        return {_redact_key(k): _redact_entry(k, v, depth) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redact_value(item, depth + 1) for item in value]
    if isinstance(value, bytes | bytearray):
        return redact(bytes(value).decode("utf-8", "backslashreplace"))
    if isinstance(value, PathLike):
        return redact(str(value))
    return _redact_object(value)


def _redact_key(key: Any) -> Any:
    return redact(key) if isinstance(key, str) else key


def _redact_entry(key: Any, value: Any, depth: int) -> Any:
    if isinstance(key, str) and value is not None and is_secret_key(key):
        return MASK
    return _redact_value(value, depth + 1)


def _redact_object(value: Any) -> Any:
    """The object itself if neither of its texts shows a credential, else its text without it."""
    try:
        texts = (repr(value), str(value))
    except Exception:  # noqa: BLE001  # a broken __repr__ must not stop a log line
        return f"<{type(value).__name__} without a text>"
    cleaned = tuple(map(redact, texts))
    return value if cleaned == texts else cleaned[0]
