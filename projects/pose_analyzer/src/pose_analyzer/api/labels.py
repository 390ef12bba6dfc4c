"""What clients call things, made fit to be shown: a label never names a file of ours."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote, urlsplit

from shared_utils.logging import redact

MAX_LABEL = 200


def clean_label(text: str | None, *, default: str = "recording") -> str:
    r"""One line of at most 200 printable characters; of a path its last part.

    Args:
        text: What a client sent.
        default: When nothing is left of it.

    Example:
        >>> clean_label("../../etc/pass\x00wd"), clean_label(" squat\n\u202e.mp4 "), clean_label("..")
        ('passwd', 'squat .mp4', 'recording')
    """
    last = re.split(r"[/\\]", text or "")[-1]
    shown = "".join(" " if unicodedata.category(c) in ("Zl", "Zp", "Zs", "Cc") and c != "\0" else c for c in last)
    # Formatting characters can turn a name round; surrogates are no characters at all.
    shown = "".join(c for c in shown if unicodedata.category(c)[0] != "C")
    shown = " ".join(redact(shown).split())
    return shown[:MAX_LABEL].strip() if shown.strip(". ") else default


def label_of_address(url: str) -> str:
    """What to call a recording on the web: the last part of its path, else its host.

    Example:
        >>> label_of_address("https://example.org/clips/squat%20side.mp4?token=abc"), label_of_address("https://example.org/")
        ('squat side.mp4', 'example.org')
    """
    parts = urlsplit(url)
    return clean_label(unquote(parts.path), default=parts.hostname or "recording")
