"""GStreamer's RTSP server with one recording; run by the system's Python, which has its bindings: `PORT FILE`."""

from __future__ import annotations

import sys


def main(port: str, path: str) -> None:
    """Serve `rtsp://127.0.0.1:PORT/live` until killed; prints the port."""
    import gi  # pyright: ignore[reportMissingImports]

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer  # pyright: ignore[reportMissingImports]

    Gst.init(None)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(f"( filesrc location={path} ! qtdemux ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1 )")
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    server.get_mount_points().add_factory("/live", factory)
    if not server.attach(None):
        sys.exit("the port is taken")
    sys.stdout.write(f"{server.get_bound_port()}\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
