"""A camera made of GStreamer's RTSP server: it can be unplugged and plugged in again."""

from __future__ import annotations

import os
import signal
import subprocess
from functools import cache
from pathlib import Path
from typing import Self

import av

_PYTHON = "/usr/bin/python3"
_PACKAGES = "gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good python3-gi"
_PROBE = (
    "import gi; gi.require_version('Gst','1.0'); gi.require_version('GstRtspServer','1.0');"
    "from gi.repository import Gst, GstRtspServer; Gst.init(None);"
    "assert all(map(Gst.ElementFactory.find, ('qtdemux','h264parse','rtph264pay')))"
)


@cache
def why_not() -> str | None:
    """Why there is no such server here; None if there is."""
    try:
        found = subprocess.run([_PYTHON, "-c", _PROBE], capture_output=True, timeout=60, check=False)
    except OSError as error:
        return f"there is no {_PYTHON} ({error.strerror})"
    return None if found.returncode == 0 else f"GStreamer's RTSP server is not installed; Debian: apt-get install {_PACKAGES}"


def lengthen(source: Path, target: Path, *, times: int) -> Path:
    """The same recording, several times in a row, not encoded again."""
    with av.open(source) as clip, av.open(target, "w") as out:
        stream = clip.streams.video[0]
        copy = out.add_stream_from_template(stream)
        packets = [p for p in clip.demux(stream) if p.size]
        length = max((p.pts or 0) + (p.duration or 0) for p in packets)
        whole = [(bytes(p), p.pts or 0, p.dts or 0, p.duration, p.is_keyframe) for p in packets]
        for turn in range(times):
            for data, pts, dts, duration, is_key in whole:
                packet = av.Packet(data)
                packet.stream, packet.time_base = copy, stream.time_base
                packet.pts, packet.dts, packet.duration, packet.is_keyframe = pts + turn * length, dts + turn * length, duration, is_key
                out.mux(packet)
    return target


class GstCamera:
    """Serves a recording at `rtsp://127.0.0.1:PORT/live`, each client from its beginning.

    Args:
        path: H.264 in MP4.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._port = 0
        self._process: subprocess.Popen[str] | None = None
        self.come_back()

    @property
    def url(self) -> str:
        return f"rtsp://admin:topsecret@127.0.0.1:{self._port}/live"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.die()

    def come_back(self) -> None:
        """Listen, on the same port as before."""
        script = Path(__file__).with_name("_gst_rtsp_server.py")
        self._process = subprocess.Popen(
            [_PYTHON, str(script), str(self._port), str(self._path)], stdout=subprocess.PIPE, text=True, env=_plain_environment()
        )
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())

    def die(self) -> None:
        """Power cut: every connection breaks."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def unplug(self) -> None:
        """Cable out: connections stay, nothing comes any more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def plug_in(self) -> None:
        """Cable in."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


def _plain_environment() -> dict[str, str]:
    """Without what points the system's Python to this environment's libraries."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV", "LD_"))}
