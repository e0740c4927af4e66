"""A server that speaks the protocol of `sadtalker_live`: grey frames for speech, whatever it sounds like."""

import contextlib
import struct
import threading
from collections.abc import Iterator
from concurrent import futures

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

SIDE = 8


class LiveTriton(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Notes the controls that it is told; shows a frame per 40 ms of speech, once the utterance is flushed."""

    def __init__(self) -> None:
        self.controls: list[str] = []
        self.rates: list[int] = []
        self.ended = threading.Event()
        self.refused = False

    def ModelStreamInfer(self, requests, context):  # noqa: N802
        frame = utterance = 0
        samples, rate = 0, 1
        for request in requests:
            given = dict(zip((tensor.name for tensor in request.inputs), request.raw_input_contents, strict=True))
            if "image" in given and given["image"][4:] == b"no face":
                yield service_pb2.ModelStreamInferResponse(
                    error_message="INVALID_ARGUMENT: image: expected a face, got none",
                    infer_response=service_pb2.ModelInferResponse(id="start"),
                )
                self.refused = True
            if self.refused:  # as Triton does, leave the stream open
                continue
            if "pcm" in given:
                [rate] = struct.unpack("<i", given["rate"])
                self.rates.append(rate)
                samples += len(given["pcm"]) // 2
            control = given.get("control", b"    ")[4:].decode()
            if control and request.id != "close":  # which ends the sequence, when all is over
                self.controls.append(control)
            if control == "interrupt":
                samples = 0
            if control in ("flush", "end") and samples >= rate / 25:
                frames = samples * 25 // rate
                for number in range(frames):
                    yield response(frame, utterance, number == frames - 1)
                    frame += 1
                samples, utterance = 0, utterance + 1
            if control == "end":
                final = service_pb2.ModelInferResponse(id="start")
                final.parameters["triton_final_response"].bool_param = True
                yield service_pb2.ModelStreamInferResponse(infer_response=final)
                self.ended.set()


def response(frame: int, utterance: int, ends: bool) -> service_pb2.ModelStreamInferResponse:
    infer = service_pb2.ModelInferResponse(id="start")
    pixels = bytes([frame % 256]) * (SIDE * SIDE * 3)
    for name, datatype, content in [
        ("video", "BYTES", struct.pack("<I", len(pixels)) + pixels),
        ("sound", "INT16", np.full(1920, frame, np.int16).tobytes()),
        ("frame", "INT32", struct.pack("<i", frame)),
        ("time", "FP64", struct.pack("<d", frame / 25)),
        ("size", "INT32", struct.pack("<2i", SIDE, SIDE)),
        ("utterance", "INT32", struct.pack("<i", utterance)),
        ("ends", "BOOL", struct.pack("<?", ends)),
        ("late", "BOOL", struct.pack("<?", False)),
        ("latency", "FP32", struct.pack("<4f", 0, 0, 0, 0)),
    ]:
        infer.outputs.add(name=name, datatype=datatype)
        infer.raw_output_contents.append(content)
    return service_pb2.ModelStreamInferResponse(infer_response=infer)


@contextlib.contextmanager
def serving() -> Iterator[tuple[str, LiveTriton]]:
    """Yield the address of a running one, and itself."""
    server, triton = grpc.server(futures.ThreadPoolExecutor(4)), LiveTriton()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(triton, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", triton
    finally:
        server.stop(0).wait()
