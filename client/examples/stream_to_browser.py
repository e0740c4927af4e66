"""Watch a talking head in the browser while it is being made.

    python client/examples/stream_to_browser.py portrait.png speech.wav

then open http://127.0.0.1:8080 and press Start. The page fetches the video and hands it to the browser piece by piece
(Media Source Extensions), which shows the first picture as soon as the first fragment is there. A plain `<video src>`
would wait for more bytes, and ask again, now and then, for the same video. So requests share one animation: the first
starts it, others join it, and it is cancelled when nobody has watched for some seconds. The finished file is kept and
served with ranges, for browsers without Media Source Extensions and for seeking.

For this machine only: no encryption, no limits, one portrait and one recording.
"""

import argparse
import contextlib
import mimetypes
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from sadtalker_client import Animation, SadTalkerClient, SadTalkerError

PAGE = Path(__file__).with_suffix(".html")
GRACE_SECONDS = 5.0


class SharedVideo:
    """A video that any number of visitors watch while it is being made."""

    def __init__(self, animation: Animation, grace_seconds: float) -> None:
        self._animation = animation
        self._grace_seconds = grace_seconds
        self._changed = threading.Condition()
        self._fragments: list[bytes] = []
        self._ended = False
        self._watchers = 0
        self.error: SadTalkerError | None = None
        threading.Thread(target=self._receive, daemon=True).start()

    @property
    def file(self) -> bytes | None:
        """Return the whole video, None while it is being made."""
        with self._changed:
            return b"".join(self._fragments) if self._ended and self.error is None else None

    def watch(self) -> Iterator[bytes]:
        """Yield the video's bytes from its beginning on, as they come; raises the SadTalkerError that ends it early."""
        with self._changed:
            self._watchers += 1
        try:
            seen = 0
            while True:
                with self._changed:
                    while not self._ended and len(self._fragments) == seen:
                        self._changed.wait()
                    new = self._fragments[seen:]
                    if not new and self.error:
                        raise self.error
                if not new:
                    return
                yield from new
                seen += len(new)
        finally:
            with self._changed:
                self._watchers -= 1
                if not (self._watchers or self._ended):
                    threading.Timer(self._grace_seconds, self._cancel_unwatched).start()

    def _receive(self) -> None:
        try:
            for fragment in self._animation:
                with self._changed:
                    self._fragments.append(fragment.data)
                    self._changed.notify_all()
        except SadTalkerError as error:
            self.error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _cancel_unwatched(self) -> None:
        with self._changed:
            if not self._watchers:
                self._animation.cancel()


def make_server(
    client: SadTalkerClient, portrait: Path, speech: Path, port: int, grace_seconds: float = GRACE_SECONDS
) -> ThreadingHTTPServer:
    """Return a web server on the loopback address: / is the page, /video.mp4 the video, /portrait its poster.

    An animation that nobody has watched for `grace_seconds` is cancelled; the next request starts another.
    """
    current: SharedVideo | None = None
    changing = threading.Lock()

    def shared_video() -> SharedVideo:
        nonlocal current
        with changing:
            if current is None or current.error:
                current = SharedVideo(client.animate(portrait, speech), grace_seconds)
            return current

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # for chunked transfer: the length of the video is not known yet

        def do_GET(self) -> None:
            if self.path == "/":
                self._send_file(PAGE.read_bytes(), "text/html; charset=utf-8")
            elif self.path == "/portrait":
                self._send_file(portrait.read_bytes(), mimetypes.guess_type(portrait)[0] or "image/png")
            elif self.path == "/video.mp4":
                self._send_video()
            else:
                self.send_error(404)

        do_HEAD = do_GET  # noqa: N815, http.server's name

        def _send_video(self) -> None:
            if self.command == "HEAD" and (current is None or current.file is None):
                self._start(200, {"Content-Type": "video/mp4", "Cache-Control": "no-store"})  # starts no animation
                return
            started = False
            try:
                video = shared_video()
                if file := video.file:
                    self._send_file(file, "video/mp4")
                    return
                with contextlib.closing(video.watch()) as fragments:
                    for data in fragments:
                        if not started:  # an error before the first fragment can still be told in words
                            headers = {"Content-Type": "video/mp4", "Transfer-Encoding": "chunked"}
                            self._start(200, headers | {"Cache-Control": "no-store"})
                            started = True
                        if data:  # an empty chunk would mean the end
                            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.write(b"0\r\n\r\n")
            except SadTalkerError as error:
                self.close_connection = True  # an answer without its end: the browser sees that it is not whole
                if not started:
                    self._send_file(str(error).encode(), "text/plain; charset=utf-8", status=502)
            except ConnectionError:
                self.close_connection = True  # the visitor left

        def _send_file(self, content: bytes, content_type: str, status: int = 200) -> None:
            """Send `content`, or the part of it that the request's Range asks for."""
            headers = {"Content-Type": content_type, "Cache-Control": "no-store", "Accept-Ranges": "bytes"}
            size = len(content)
            wanted = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", self.headers.get("Range", ""))
            if status == 200 and wanted and any(wanted.groups()):
                first, last = wanted.groups()
                start = int(first) if first else max(0, size - int(last))
                end = min(int(last), size - 1) if first and last else size - 1
                if start > end:
                    self._start(416, {"Content-Range": f"bytes */{size}", "Content-Length": "0"})
                    return
                content, status = content[start : end + 1], 206
                headers["Content-Range"] = f"bytes {start}-{end}/{size}"
            self._start(status, headers | {"Content-Length": str(len(content))})
            if self.command != "HEAD":
                self.wfile.write(content)

        def _start(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep quiet: the terminal shows the address to open."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True  # a visitor who still watches does not keep the program
    return server


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Watch a talking head in the browser while it is being made.")
    parser.add_argument("portrait", type=Path)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--url", default="127.0.0.1:8001", help="the SadTalker server (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="of the web page (default: %(default)s)")
    arguments = parser.parse_args()
    with (
        SadTalkerClient(arguments.url) as talker,
        make_server(talker, arguments.portrait, arguments.speech, arguments.port) as web,
    ):
        print(f"http://127.0.0.1:{web.server_port}", flush=True)  # noqa: T201, the address to open
        with contextlib.suppress(KeyboardInterrupt):
            web.serve_forever()
