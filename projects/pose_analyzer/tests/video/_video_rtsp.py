"""A small RTSP camera (RFC 2326, interleaved; RTP payload of RFC 6184) that can refuse, hang, die and come back."""

from __future__ import annotations

import base64
import io
import socket
import threading
from fractions import Fraction
from typing import Self

import av
from _video_clips import make_clip

_CLOCK = 90_000


def _access_units() -> list[list[bytes]]:
    """NAL units of 250 numbered pictures, a key frame every five."""
    stream = io.BytesIO()
    options = {"tune": "zerolatency", "x264-params": "keyint=5:scenecut=0:sliced-threads=0:slices=1"}
    make_clip(stream, form="h264", frames=250, gop=5, options=options)
    stream.seek(0)
    units = []
    with av.open(stream) as container:
        for packet in container.demux(video=0):
            if packet.size:
                nals = bytes(packet).replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]
                units.append([nal for nal in nals if nal and nal[0] & 31 in {1, 5, 7, 8}])
    return units


class RtspCamera:
    """Serves numbered pictures at `rtsp://127.0.0.1:PORT/live`, 25 a second by its clock, faster by ours.

    Args:
        login: "user:password" that it asks for; None asks for nothing.
        period_s: Real seconds between pictures.
    """

    def __init__(self, login: str | None = None, period_s: float = 0.004) -> None:
        self._login = login
        self._period_s = period_s
        self._units = _access_units()
        self._port = 0
        self._stop = threading.Event()
        self._hanging = threading.Event()
        self._threads: list[threading.Thread] = []
        self.played = 0
        self.come_back()

    @property
    def url(self) -> str:
        login = f"{self._login}@" if self._login else ""
        return f"rtsp://{login}127.0.0.1:{self._port}/live"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc) -> None:
        self.die()

    def come_back(self) -> None:
        """Listen, on the same port as before."""
        self._stop = threading.Event()
        self._hanging.clear()
        self._server = socket.socket()
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._server.bind(("127.0.0.1", self._port))
        self._server.listen()
        self._server.settimeout(0.05)
        self._port = self._server.getsockname()[1]
        self._spawn(self._accept, self._server, self._stop)

    def die(self) -> None:
        """Drop every connection and stop listening."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        self._server.close()

    def hang(self) -> None:
        """Stay connected, but send nothing more."""
        self._hanging.set()

    def _spawn(self, target, *args) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, server: socket.socket, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                client, _ = server.accept()
            except TimeoutError:
                continue
            self._spawn(self._serve, client, stop)

    def _serve(self, client: socket.socket, stop: threading.Event) -> None:
        with client:
            client.settimeout(0.05)
            pending = b""
            while not stop.is_set():
                try:
                    data = client.recv(4096)
                except TimeoutError:
                    continue
                except OSError:
                    return
                if not data:
                    return
                pending += data
                while b"\r\n\r\n" in pending:
                    request, pending = pending.split(b"\r\n\r\n", 1)
                    if self._answer(client, request.decode()):
                        self._play(client, stop)
                        return

    def _answer(self, client: socket.socket, request: str) -> bool:
        """Answer one request; True when playing begins."""
        lines = request.split("\r\n")
        method = lines[0].split()[0]
        fields = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines[1:])}
        sequence = fields.get("cseq", "0")
        if self._login and fields.get("authorization") != "Basic " + base64.b64encode(self._login.encode()).decode():
            client.sendall(f'RTSP/1.0 401 Unauthorized\r\nCSeq: {sequence}\r\nWWW-Authenticate: Basic realm="cam"\r\n\r\n'.encode())
            return False
        extra, body = "", ""
        if method == "OPTIONS":
            extra = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
        elif method == "DESCRIBE":
            body = self._description()
            extra = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
        elif method == "SETUP":
            extra = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 7\r\n"
        elif method == "PLAY":
            extra = "Session: 7\r\nRange: npt=0.000-\r\n"
        client.sendall(f"RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\n{extra}\r\n{body}".encode())
        return method == "PLAY"

    def _description(self) -> str:
        sets = [nal for nal in self._units[0] if nal[0] & 31 in {7, 8}]
        sprop = ",".join(base64.b64encode(nal).decode() for nal in sets)
        return (
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\n"
            "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
            f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={sprop}\r\na=control:track0\r\n"
        )

    def _play(self, client: socket.socket, stop: threading.Event) -> None:
        self.played += 1
        sequence, number = 0, 0
        while not stop.wait(self._period_s):
            if self._hanging.is_set():
                continue
            time = int(Fraction(number, 25) * _CLOCK) + 12_345
            unit = self._units[number % len(self._units)]
            number += 1
            for i, nal in enumerate(unit):
                marker = 0x80 if i == len(unit) - 1 else 0
                head = (
                    bytes([0x80, 96 | marker]) + (sequence & 0xFFFF).to_bytes(2, "big") + (time & 0xFFFFFFFF).to_bytes(4, "big") + b"CAM0"
                )
                sequence += 1
                try:
                    client.sendall(b"$\0" + (len(head) + len(nal)).to_bytes(2, "big") + head + nal)
                except OSError:
                    return
