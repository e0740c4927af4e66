"""A local server of OpenAI's speech and chat protocols, for tests of the gateway against them."""

import json
import threading
import wave
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO


def tone(seconds: float, rate: int = 24_000) -> bytes:
    """Return a WAV file of silence."""
    file = BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(bytes(2 * round(seconds * rate)))
    return file.getvalue()


class OpenAIDouble:
    """Speaks a second for every ten characters and answers chats with `reply`, a token at a time.

    `gate` holds back the tokens after the first sentence until it is set; a `status` other than 200 is a
    failure.
    """

    def __init__(self) -> None:
        self.reply = ["Of ", "course. ", "The second ", "sentence."]
        self.held_from = 99  # token before which it waits for `gate`
        self.gate = threading.Event()
        self.status = 200
        self.requests: list[tuple[str, str | None, dict]] = []
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                double.requests.append((self.path, self.headers.get("Authorization"), body))
                if double.status != 200:
                    self._answer(double.status, "application/json", b'{"error": {"message": "out of credit"}}')
                elif self.path.endswith("/audio/speech"):
                    # Streaming writers leave the sizes open.
                    sound = tone(len(body["input"]) / 10)
                    self._answer(200, "audio/wav", sound[:40] + b"\xff\xff\xff\xff" + sound[44:])
                else:
                    self._chat()

            def _chat(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                for index, token in enumerate(double.reply):
                    if index == double.held_from:
                        double.gate.wait(20)
                    chunk = {
                        "id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m",
                        "choices": [{"index": 0, "delta": {"content": token}, "finish_reason": None}],
                    }  # fmt: skip
                    self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
                    self.wfile.flush()
                self.wfile.write(b"data: [DONE]\n\n")

            def _answer(self, status: int, kind: str, content: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True).start()

    def close(self) -> None:
        """Stop it."""
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
