"""A gRPC server in this process that holds live sessions as a test tells it to, and both clients behind one face."""

import asyncio
import contextlib
import queue
import struct
import threading

import grpc
from fake_triton import FakeTriton
from sadtalker_client import AsyncSadTalkerClient, SadTalkerClient
from tritonclient.grpc import service_pb2

WAIT_SECONDS = 60
RATE = 16_000


def frame(index, utterance=0, ends=False):
    """Return the answer that carries a frame, laid out as Triton does."""
    response = service_pb2.ModelStreamInferResponse()
    infer = response.infer_response
    infer.id = "start"
    data = b"picture %d" % index
    for name, datatype, content in (
        ("video", "BYTES", struct.pack("<I", len(data)) + data),
        ("sound", "INT16", b"\1\0" * 1920),
        ("frame", "INT32", struct.pack("<i", index)),
        ("time", "FP64", struct.pack("<d", index / 25)),
        ("size", "INT32", struct.pack("<2i", 256, 256)),
        ("utterance", "INT32", struct.pack("<i", utterance)),
        ("ends", "BOOL", struct.pack("<?", ends)),
        ("late", "BOOL", struct.pack("<?", False)),
        ("latency", "FP32", struct.pack("<4f", 0.2, 0.0, 0.1, 0.0)),
    ):
        infer.outputs.add(name=name, datatype=datatype, shape=[1, 1])
        infer.raw_output_contents.append(content)
    return response


def final():
    """Return the answer after a session's last frame."""
    response = service_pb2.ModelStreamInferResponse()
    response.infer_response.id = "start"
    response.infer_response.parameters["triton_final_response"].bool_param = True
    return response


def failed(text, id="start"):
    """Return an error, of the session itself or of one of its requests."""
    response = service_pb2.ModelStreamInferResponse(error_message=text)
    response.infer_response.id = id
    return response


def text(request, name="control"):
    """Return the control that a request carries, `received` as a number; None where it has none."""
    contents = dict(zip((tensor.name for tensor in request.inputs), request.raw_input_contents, strict=True))
    if name not in contents:
        return None
    return struct.unpack("<i", contents[name])[0] if name == "received" else contents[name][4:].decode()


class FakeLive(FakeTriton):
    """Sends what `script(arrived)` yields, a gRPC status to end with it; `arrived` is a queue of requests."""

    def __init__(self):
        super().__init__()
        self.script = lambda arrived: [final()]
        self.reads = True
        self.details = "as told"

    def ModelStreamInfer(self, request_iterator, context):  # noqa: N802, gRPC's name
        arrived, ended = queue.Queue(), threading.Event()
        left = threading.Event()
        context.add_callback(lambda: (ended.is_set() or self.cancelled.set(), left.set(), arrived.put(None)))

        def read():
            with contextlib.suppress(Exception):  # the client has gone
                for request in request_iterator:
                    self.requests.append(request)
                    arrived.put(request)
            left.set()

        if self.reads:
            threading.Thread(target=read, daemon=True).start()
        for response in self.script(arrived):
            if isinstance(response, grpc.StatusCode):
                ended.set()
                context.abort(response, self.details)
            if not context.is_active():
                return
            yield response
            if response.infer_response.parameters["triton_final_response"].bool_param:
                left.wait(WAIT_SECONDS)  # as Triton, which ends a stream when its caller does
                break
        ended.set()

    def wait_for(self, condition):
        """Wait until a condition on the requests so far holds."""
        deadline = threading.Event()
        for _ in range(WAIT_SECONDS * 50):
            if condition(self.requests):
                return
            deadline.wait(0.02)
        raise AssertionError([text(request) for request in self.requests])


class BlockingTalk:
    """A session of the blocking client."""

    def __init__(self, url, **options):
        self._client = SadTalkerClient(url)
        self._session = self._client.live(b"portrait", **options)

    def __enter__(self):
        self._session.__enter__()
        return self._session

    def __exit__(self, *reason):
        self._session.__exit__(*reason)
        self._client.close()


class AsyncTalk:
    """A session of the asyncio client, whose loop runs in a thread of its own."""

    def __init__(self, url, **options):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._client = AsyncSadTalkerClient(url)
        self._session = self._client.live(b"portrait", **options)

    def __enter__(self):
        try:
            self._run(self._session.__aenter__())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *reason):
        self._run(self._session.__aexit__(*reason))
        self._stop()

    def speak(self, pcm, rate):
        self._run(self._session.speak(pcm, rate))

    def flush(self):
        self._run(self._session.flush())

    def interrupt(self):
        self._run(self._session.interrupt())

    def end(self):
        self._run(self._session.end())

    def cancel(self):
        self._loop.call_soon_threadsafe(self._session.cancel)

    def __iter__(self):
        return self

    def __next__(self):
        async def following():
            return [frame async for frame in _first(self._session)]

        found = self._run(following())
        if not found:
            raise StopIteration
        return found[0]

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(WAIT_SECONDS)

    def _stop(self):
        self._run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _first(session):
    async for found in session:
        yield found
        return
