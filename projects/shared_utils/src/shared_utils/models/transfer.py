"""One address to one partial file over HTTP, resumed with range requests."""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from shared_utils.errors import ModelError
from shared_utils.models.address import check_url

if TYPE_CHECKING:
    import httpx

_RETRY_STATUS = {408, 425, 429, 500, 502, 503, 504}
_MAX_REDIRECTS = 10
_MAX_CONNECTIONS = 100
_MAX_WAIT_S = 60.0


class _Broken(Exception):
    """The connection ended early or the server asks to come again."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class Transfer:
    """Fills `part` with the bytes of `url`.

    Args:
        url: Passes `check_url`, and so does everything it redirects to.
        part: Partial file; what it holds already is not asked for again. Beside it, `PART.tag` keeps
            the server's name of this version of the content, so that two versions are never mixed.
        retries: Tries after a connection that brought nothing new.
        timeout_s: Seconds without a byte that break a connection.
        progress: Called with (bytes so far, bytes in all or None).
        sleep: Waits between tries.
    """

    def __init__(
        self,
        url: str,
        part: Path,
        *,
        retries: int,
        timeout_s: float,
        progress: Callable[[int, int | None], None] | None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        check_url(url)
        self.url, self.part = url, part
        self.host = urlsplit(url).hostname or url
        self._retries, self._timeout_s = retries, timeout_s
        self._progress = progress or (lambda done, total: None)
        self._sleep = sleep
        self._tag = part.with_name(part.name + ".tag")

    def run(self, size_bytes: int | None = None) -> bool:
        """Download until the server says that it is whole.

        Args:
            size_bytes: Expected size; a shorter body of unstated length counts as cut.

        Returns:
            True when bytes of an earlier run were kept.

        Raises:
            ModelError: The address does not give the file, or the network does not.
        """
        import httpx

        resumed = self._have() > 0
        fruitless = 0
        timeout = httpx.Timeout(self._timeout_s)
        with httpx.Client(timeout=timeout, headers={"Accept-Encoding": "identity"}, follow_redirects=False) as client:
            for _ in range(_MAX_CONNECTIONS):
                before = self._have()
                try:
                    kept = self._connect(client, size_bytes)
                except _Broken as broken:
                    fruitless = 0 if self._have() > before else fruitless + 1
                    if fruitless > self._retries:
                        raise ModelError(self._gave_up(broken)) from broken.__cause__
                    self._sleep(broken.wait_s if broken.wait_s is not None else min(2.0 ** max(fruitless - 1, 0), _MAX_WAIT_S))
                else:
                    self._tag.unlink(missing_ok=True)
                    return resumed and kept
        raise ModelError(
            f"{self.host} closed the connection {_MAX_CONNECTIONS} times; run the command again to go on from where it stopped"
        )

    def _connect(self, client: httpx.Client, size_bytes: int | None) -> bool:
        """One request; true when the bytes that were there before were kept."""
        import httpx

        offset = self._have()
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        tag = self._tag.read_text("utf-8") if offset and self._tag.is_file() else ""
        if tag:
            headers["If-Range"] = tag
        url = self.url
        try:
            for _ in range(_MAX_REDIRECTS):
                with client.stream("GET", url, headers=headers) as response:
                    if response.is_redirect:
                        url = urljoin(url, response.headers.get("location", ""))
                        check_url(url)
                        continue
                    return self._receive(response, offset, size_bytes)
        except httpx.TransportError as error:
            raise _Broken(_reason(error)) from error
        except httpx.InvalidURL as error:
            raise ModelError(f"{self.host} redirects to something that is no address: {error}") from error
        raise ModelError(f"{self.host} redirects more than {_MAX_REDIRECTS} times")

    def _receive(self, response: httpx.Response, offset: int, size_bytes: int | None) -> bool:
        status = response.status_code
        if status == 416:
            return self._range_refused(response, offset)
        if status in _RETRY_STATUS:
            raise _Broken(f"{self.host} answers {status} {response.reason_phrase}", _retry_after(response))
        if status not in (200, 206):
            hint = "the file has moved or was withdrawn" if status in (404, 410) else "the server refuses"
            raise ModelError(f"{self.host} answers {status} {response.reason_phrase} for {urlsplit(self.url).path}: {hint}")
        kept = status == 206 and _range_start(response) == offset
        if status == 206 and not kept:
            self.part.unlink(missing_ok=True)
            raise _Broken(f"{self.host} sends another range than asked for", 0.0)
        start = offset if kept else 0
        total = _total(response, start)
        if total is not None and size_bytes is not None and total != size_bytes:
            self.part.unlink(missing_ok=True)
            raise ModelError(f"{self.host} offers {total} bytes where {size_bytes} are expected: not the file we know; nothing was kept")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise ModelError(f"{self.host} sends the file {response.headers['content-encoding']}-encoded although asked not to")
        self._require_space((total or size_bytes or 0) - start)
        self._remember(response)
        done = self._write(response, start, total or size_bytes)
        if (total or size_bytes or done) > done:
            raise _Broken(f"{self.host} ended after {done} of {total or size_bytes} bytes")
        return kept

    def _write(self, response: httpx.Response, start: int, total: int | None) -> int:
        """Append what comes; the number of bytes then in the part."""
        done = start
        with self.part.open("ab" if start else "wb") as sink:
            self._progress(done, total)
            try:
                for chunk in response.iter_raw():
                    sink.write(chunk)
                    done += len(chunk)
                    self._progress(done, total)
                sink.flush()
                os.fsync(sink.fileno())
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    self.part.unlink(missing_ok=True)
                raise
        return done

    def _range_refused(self, response: httpx.Response, offset: int) -> bool:
        """416: the part is whole already, or is none of this content."""
        match = re.fullmatch(r"bytes \*/(\d+)", response.headers.get("content-range", ""))
        if match and int(match[1]) == offset:
            return True
        self.part.unlink(missing_ok=True)
        raise _Broken(f"{self.host} has no bytes after {offset}", 0.0)

    def _remember(self, response: httpx.Response) -> None:
        """Note which version this is; a weak tag does not promise equal bytes and is not used."""
        etag = response.headers.get("etag", "")
        tag = etag if etag and not etag.startswith("W/") else response.headers.get("last-modified", "")
        if tag:
            self._tag.write_text(tag, "utf-8")
        else:
            self._tag.unlink(missing_ok=True)

    def _require_space(self, needed: int) -> None:
        free = shutil.disk_usage(self.part.parent).free
        if needed > free:
            raise ModelError(
                f"not enough space in {self.part.parent}: {needed / 1e6:.1f} MB needed, {free / 1e6:.1f} MB free; "
                "free some or set POSE_MODELS_DIR to another folder"
            )

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _gave_up(self, broken: _Broken) -> str:
        have = self._have()
        kept = f"; {have} bytes are kept, run the command again to go on" if have else ""
        return (
            f"cannot download from {self.host}: {broken} (tried {self._retries + 1} times); check the network and the proxy settings{kept}"
        )


def _range_start(response: httpx.Response) -> int | None:
    match = re.match(r"bytes (\d+)-", response.headers.get("content-range", ""))
    return int(match[1]) if match else None


def _total(response: httpx.Response, start: int) -> int | None:
    length = response.headers.get("content-length", "")
    return start + int(length) if length.isdigit() else None


def _retry_after(response: httpx.Response) -> float | None:
    value = response.headers.get("retry-after", "")
    return min(float(value), _MAX_WAIT_S) if value.isdigit() else None


def _reason(error: Exception) -> str:
    import httpx

    if isinstance(error, httpx.ConnectTimeout | httpx.ConnectError):
        return f"no connection ({error})" if str(error) else "no connection"
    if isinstance(error, httpx.TimeoutException):
        return "the connection fell silent"
    return f"the connection broke ({error})" if str(error) else "the connection broke"
