"""`/v1/portraits`: pictures whose face was found, each with a poster and an idle loop."""

from typing import Annotated

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from sadtalker_client import InvalidInputError

from ..errors import ApiError
from ..options import form_options
from ..portraits import Portrait
from .common import CREATION_ERRORS, GatewayDependency, Owner, PortraitId, errors
from .content import stored_or_growing

router = APIRouter(prefix="/v1/portraits", tags=["portraits"])


@router.post("", status_code=201, responses=errors(*CREATION_ERRORS))
async def create_portrait(
    gateway: GatewayDependency,
    owner: Owner,
    image: Annotated[UploadFile, File(description="a picture with a face: JPEG, PNG, WebP and others")],
    crop: Annotated[
        str | None, Form(description="what the videos show: crop, extcrop, resize, full or extfull")
    ] = None,
    face_index: Annotated[int | None, Form(description="which face, from left to right, from 0 on")] = None,
    size: Annotated[str | None, Form(description="edge in pixels", max_length=32)] = None,
) -> Portrait:
    """Store a portrait under the hash of its content; its idle loop is made meanwhile."""
    content = await image.read()
    if not content:
        raise InvalidInputError("image: expected the content of a picture, got 0 bytes")
    options = await form_options(crop=crop, face_index=face_index, size=size)
    portrait = await gateway.portraits.create(owner, content, options)
    try:
        await gateway.portraits.idle(owner, portrait.id)
    except ApiError as error:
        if error.status not in (429, 503):  # too busy now: the loop is made when somebody asks for it
            raise
    return portrait


@router.get("/{portrait_id}", responses=errors(404))
async def get_portrait(gateway: GatewayDependency, owner: Owner, portrait_id: PortraitId) -> Portrait:
    """Return a portrait."""
    return await gateway.portraits.describe(owner, portrait_id)


@router.delete("/{portrait_id}", status_code=204, responses=errors(403, 404))
async def delete_portrait(gateway: GatewayDependency, owner: Owner, portrait_id: PortraitId) -> None:
    """Delete a portrait and its idle loop; videos that were made of it stay."""
    await gateway.portraits.delete(owner, portrait_id)


@router.get("/{portrait_id}/poster", response_class=Response, responses=errors(404))
async def get_poster(gateway: GatewayDependency, owner: Owner, portrait_id: PortraitId) -> Response:
    """Return the first frame of the idle loop as a PNG."""
    poster = await gateway.portraits.poster(owner, portrait_id)
    return Response(poster, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})


@router.get("/{portrait_id}/idle", response_class=Response, responses=errors(404, 409, 429, 503))
async def get_idle(gateway: GatewayDependency, owner: Owner, portrait_id: PortraitId, request: Request) -> Response:
    """Return the idle loop as an MP4; while it is being made, a growing stream."""
    video = await gateway.portraits.idle(owner, portrait_id)
    return await stored_or_growing(gateway, owner, video.id, request)


@router.get("/{portrait_id}/picture", response_class=Response, responses=errors(404, 429, 503))
async def get_picture(gateway: GatewayDependency, owner: Owner, portrait_id: PortraitId) -> Response:
    """Return the idle loop as an animated WebP; 503 with Retry-After while it is being made."""
    picture = await gateway.portraits.picture(owner, portrait_id)
    if picture is None:
        raise ApiError(503, "not_ready", "the idle loop is still being made", retry_after=2)
    return Response(picture, media_type="image/webp", headers={"Cache-Control": "private, max-age=3600"})
