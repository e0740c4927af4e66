"""Watch a talking head in the browser while it is being made.

    python client/examples/stream_to_browser.py portrait.png speech.wav

then open http://127.0.0.1:8080. Each visit asks the server for a video and passes its fragments on as they come;
leaving the page stops the work. For this machine only: no encryption, no limits, one portrait and one recording.
"""

import argparse
import contextlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sadtalker_client import SadTalkerClient, SadTalkerError

PAGE = b"<!doctype html><title>SadTalker</title><video src=/video.mp4 autoplay controls></video>"


def make_server(client: SadTalkerClient, portrait: str, speech: str, port: int) -> ThreadingHTTPServer:
    """A web server on the loopback address: / is a page, /video.mp4 a new animation, streamed."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # for chunked transfer: the length of the video is not known yet

        def do_GET(self) -> None:
            if self.path == "/":
                self._start(200, "text/html", {"Content-Length": str(len(PAGE))})
                self.wfile.write(PAGE)
            elif self.path == "/video.mp4":
                self._stream()
            else:
                self.send_error(404)

        def _stream(self) -> None:
            started = False
            try:
                with client.animate(portrait, speech) as animation:
                    for fragment in animation:
                        if not started:  # an error before the first fragment can still be told in words
                            self._start(200, "video/mp4", {"Transfer-Encoding": "chunked"})
                            started = True
                        if fragment.data:  # an empty chunk would mean the end
                            self.wfile.write(b"%x\r\n%s\r\n" % (len(fragment.data), fragment.data))
                self.wfile.write(b"0\r\n\r\n")
            except SadTalkerError as error:
                self.close_connection = True  # an answer without its end: the browser sees that it is not whole
                if not started:
                    self.send_error(502, explain=str(error))
            except ConnectionError:
                self.close_connection = True  # the visitor left, and `with` has cancelled the animation

        def _start(self, status: int, content_type: str, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": content_type, **headers}.items():
                self.send_header(name, value)
            self.end_headers()

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Watch a talking head in the browser while it is being made.")
    parser.add_argument("portrait")
    parser.add_argument("speech")
    parser.add_argument("--url", default="127.0.0.1:8001", help="the SadTalker server (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="of the web page (default: %(default)s)")
    arguments = parser.parse_args()
    with (
        SadTalkerClient(arguments.url) as talker,
        make_server(talker, arguments.portrait, arguments.speech, arguments.port) as web,
    ):
        print(f"http://127.0.0.1:{web.server_port}")  # noqa: T201, what a person came for
        with contextlib.suppress(KeyboardInterrupt):
            web.serve_forever()
