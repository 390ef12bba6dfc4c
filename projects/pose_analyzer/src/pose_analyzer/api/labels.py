"""What clients call things, made fit to be shown: a label never names a file of ours."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote, urlsplit

from shared_utils.logging import redact

MAX_LABEL = 200


def clean_label(text: str | None, *, default: str = "recording") -> str:
    r"""One line of at most 200 printable characters.

    Args:
        text: What a client sent.
        default: When nothing is left of it.

    Example:
        >>> clean_label("left / right"), clean_label(" squat\n\u202e.mp4 "), clean_label("..")
        ('left / right', 'squat .mp4', 'recording')
    """
    shown = "".join(" " if unicodedata.category(c) in ("Zl", "Zp", "Zs", "Cc") and c != "\0" else c for c in text or "")
    # Formatting characters can turn a name round; surrogates are no characters at all.
    shown = "".join(c for c in shown if unicodedata.category(c)[0] != "C")
    shown = " ".join(redact(shown).split())
    return shown[:MAX_LABEL].strip() if shown.strip(". ") else default


def label_of_file(name: str | None) -> str:
    r"""What to call an upload: the last part of the name that the client gave its file.

    Example:
        >>> label_of_file("../../etc/pass\x00wd"), label_of_file("C:\\clips\\squat.mp4")
        ('passwd', 'squat.mp4')
    """
    return clean_label(re.split(r"[/\\]", name or "")[-1])


def label_of_address(url: str) -> str:
    """What to call a recording on the web: the last part of its path, else its host.

    Example:
        >>> label_of_address("https://example.org/clips/squat%20side.mp4?token=abc"), label_of_address("https://example.org/")
        ('squat side.mp4', 'example.org')
    """
    parts = urlsplit(url)
    return clean_label(unquote(parts.path).rsplit("/", 1)[-1], default=parts.hostname or "recording")
