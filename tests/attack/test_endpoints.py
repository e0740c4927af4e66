"""The launcher's HTTP and Triton's gRPC against callers who mean harm."""

import numpy as np
import pytest
import tritonclient.grpc as triton
from attacked_server import seconds_to_serve, shared_memory
from endpoint_attacks import grpc_probes, http_probes, refused_or_harmless
from sadtalker_server import Server
from tritonclient.utils import InferenceServerException


def test_http_serves_probes_only(tiny_server: Server) -> None:
    for name, request in http_probes(seed=0).items():
        assert refused_or_harmless(tiny_server, request), name
    seconds_to_serve(tiny_server)


def test_grpc_probes(tiny_server: Server) -> None:
    for name, probe in grpc_probes(seed=0).items():
        with triton.InferenceServerClient(tiny_server.grpc_url) as client, pytest.raises(InferenceServerException):
            probe(client)
            pytest.fail(name)
    seconds_to_serve(tiny_server)


def test_no_region_of_the_server_can_be_registered(tiny_server: Server) -> None:
    region = f"/{tiny_server._workspace.region_prefix}sadtalker_0_0"
    assert shared_memory(tiny_server) > 0
    with triton.InferenceServerClient(tiny_server.grpc_url) as client:
        with pytest.raises(InferenceServerException, match="restricted"):
            client.register_system_shared_memory("stolen", region, 64)
        stolen = triton.InferInput("image", [1, 1], "BYTES")
        stolen.set_shared_memory("stolen", 64)
        with pytest.raises(InferenceServerException, match="stolen"):
            client.infer("portrait_crop", [stolen])
    assert np.isfinite(seconds_to_serve(tiny_server))
