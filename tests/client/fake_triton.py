"""A gRPC server in this process that speaks Triton's protocol and answers what a test tells it to."""

import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc


def fragment(data, done, total):
    """Return a response with the three output tensors, laid out as Triton does."""
    response = service_pb2.ModelStreamInferResponse()
    infer = response.infer_response
    infer.parameters["triton_final_response"].bool_param = False
    for name, datatype, content in (
        ("video", "BYTES", struct.pack("<I", len(data)) + data),
        ("frames_done", "INT32", struct.pack("<i", done)),
        ("frames_total", "INT32", struct.pack("<i", total)),
    ):
        infer.outputs.add(name=name, datatype=datatype, shape=[1, 1])
        infer.raw_output_contents.append(content)
    return response


def final():
    """Return the empty response that ends an answer."""
    response = service_pb2.ModelStreamInferResponse()
    response.infer_response.parameters["triton_final_response"].bool_param = True
    return response


def is_final(response):
    """Return whether it is the last of an answer."""
    return bool(response.error_message) or response.infer_response.parameters["triton_final_response"].bool_param


def error(text):
    """Return an error as it comes in a stream: a sentence without a status."""
    return service_pb2.ModelStreamInferResponse(error_message=text)


def video(*pieces):
    """Return a whole answer, one frame per piece."""
    return [*(fragment(piece, i + 1, len(pieces)) for i, piece in enumerate(pieces)), final()]


def endless():
    """Yield an answer of a million frames, a hundred in a second at most."""
    for i in range(1_000_000):
        yield fragment(b"x", i + 1, 1_000_000)
        time.sleep(0.01)


class FakeTriton(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Answers every request with what `answer(request)` yields; a gRPC status in there is what the call ends with."""

    def __init__(self):
        self.answer = lambda request: video(b"one", b"two", b"three")
        self.requests = []
        self.acknowledgements = []
        self.metadata = []
        self.ready = True
        self.cancelled = threading.Event()
        self._server = None

    def start(self, port=0, credentials=None):
        self._server = grpc.server(
            ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)]
        )
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self._server)
        address = f"127.0.0.1:{port}"
        port = (
            self._server.add_secure_port(address, credentials)
            if credentials
            else self._server.add_insecure_port(address)
        )
        self._server.start()
        self.url = f"127.0.0.1:{port}"
        return self

    def hold_second_fragment(self):
        """Answer with two fragments, the second held back until the returned event is set."""
        release = threading.Event()

        def answer(request):
            yield fragment(b"one", 1, 2)
            assert release.wait(30)
            yield fragment(b"two", 2, 2)
            yield final()

        self.answer = answer
        return release

    def stop(self):
        self._server.stop(None).wait()

    def ModelStreamInfer(self, request_iterator, context):  # noqa: N802, gRPC's name
        finished = threading.Event()
        if not context.add_callback(lambda: finished.is_set() or self.cancelled.set()):
            self.cancelled.set()  # cancelled before it began
        self.metadata.append(dict(context.invocation_metadata()))
        for request in request_iterator:
            if request.model_name == "acknowledge":
                self.acknowledgements.append(request)
                continue
            self.requests.append(request)
            ended = False
            for response in self.answer(request):
                ended = isinstance(response, grpc.StatusCode) or is_final(response)
                if isinstance(response, grpc.StatusCode):
                    finished.set()
                    context.abort(response, "as told")
                if not context.is_active():
                    return
                yield response
            if not ended:
                break  # an answer that breaks off
        finished.set()

    def ServerReady(self, request, context):  # noqa: N802
        self.metadata.append(dict(context.invocation_metadata()))
        return service_pb2.ServerReadyResponse(ready=True)

    def ModelReady(self, request, context):  # noqa: N802
        return service_pb2.ModelReadyResponse(ready=self.ready and request.name == "sadtalker")
