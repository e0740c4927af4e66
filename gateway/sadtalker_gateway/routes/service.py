"""`/healthz`, `/readyz`, `/metrics`: for those who operate the gateway."""

from typing import Literal

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from sadtalker_client import SadTalkerError

from ..errors import RETRY_SECONDS, ApiError
from .common import GatewayDependency, errors

router = APIRouter(tags=["service"])
_READY_SECONDS = 3.0


class Health(BaseModel):
    """A sign of life."""

    status: Literal["ok"] = "ok"


@router.get("/healthz")
async def healthz() -> Health:
    """Answer that the gateway itself lives."""
    return Health()


@router.get("/readyz", responses={503: errors(503)[503]})
async def readyz(gateway: GatewayDependency) -> Health:
    """Answer whether videos can be made now: the animation server is ready and the store answers."""
    try:
        ready = await gateway.client.is_ready(_READY_SECONDS)
    except SadTalkerError:
        ready = False
    if not ready:
        message = "the animation server is not ready"
        raise ApiError(503, "server_unavailable", message, retry_after=RETRY_SECONDS)
    try:
        await gateway.storage.head("ready")
    except Exception as error:
        raise ApiError(503, "store_unavailable", "the store does not answer", retry_after=RETRY_SECONDS) from error
    return Health()


@router.get("/metrics", response_class=Response)
async def metrics(gateway: GatewayDependency) -> Response:
    """Return the gateway's metrics for Prometheus."""
    return Response(generate_latest(gateway.metrics.registry), media_type=CONTENT_TYPE_LATEST)
