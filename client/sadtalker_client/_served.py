"""Questions to the server at the other end: the options that its model takes, and whether it can restore faces."""

from typing import Any

import grpc
from tritonclient.grpc import service_pb2

from ._async_client import AsyncSadTalkerClient
from ._exceptions import from_rpc
from ._options import DATATYPES
from ._wire import MODEL

RESTORATION = "face_enhancer"  # the model behind `enhance="gfpgan"`


async def served_options(client: AsyncSadTalkerClient, timeout: float = 5.0) -> frozenset[str]:
    """Return the names of this client's options that the server's model has as inputs.

    Raises:
        SadTalkerError: the server does not answer within `timeout` seconds.
    """
    request = service_pb2.ModelMetadataRequest(name=MODEL)
    answer = await _ask(client, client._stub().ModelMetadata, request, timeout)
    return frozenset(tensor.name for tensor in answer.inputs) & DATATYPES.keys()


async def restores_faces(client: AsyncSadTalkerClient, timeout: float = 5.0) -> bool:
    """Return whether the server has the networks for `enhance="gfpgan"`.

    Raises:
        SadTalkerError: the server does not answer within `timeout` seconds.
    """
    request = service_pb2.ModelReadyRequest(name=RESTORATION)
    return bool((await _ask(client, client._stub().ModelReady, request, timeout)).ready)


async def _ask(client: AsyncSadTalkerClient, method: Any, request: Any, timeout: float) -> Any:
    """Return the answer to a unary call; raises SadTalkerError where there is none."""
    try:
        return await method(request, timeout=timeout, metadata=client._endpoint.metadata)
    except grpc.RpcError as error:
        raise from_rpc(error, client._endpoint.url) from error
