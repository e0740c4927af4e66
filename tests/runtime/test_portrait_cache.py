"""Encoded portraits: encoded once, kept by content, cut oblong."""

import asyncio
from fractions import Fraction

import numpy as np
import pytest
from fake_animation import Models, Observer, make_video, new_animator
from sadtalker_runtime.animation import portraits


def test_portraits_of_one_picture_are_kept_apart() -> None:
    models = Models()

    async def run() -> None:
        animator = new_animator(models)
        for asked in ({}, {"crop": "full"}, {"face_index": 1}, {"crop": "full"}, {}):
            await make_video(animator, 0.04, **asked)

    asyncio.run(run())
    assert len(models.asked("encode_portrait")) == 3


def test_a_portrait_is_encoded_once() -> None:
    models, observer = Models(delay=0.005), Observer()

    async def run() -> None:
        animator = new_animator(models, observer)
        await asyncio.gather(*(make_video(animator, 0.04) for _ in range(3)))
        await make_video(animator, 0.04)
        await make_video(animator, 0.04, image=b"another")

    asyncio.run(run())
    assert len(models.asked("encode_portrait")) == 2
    assert sorted(observer.lookups) == [False, False, True, True, True]


def test_the_cache_keeps_the_last_used_and_no_failures() -> None:
    encoded: list[bytes] = []

    async def encode(image: bytes) -> str:
        encoded.append(image)
        await asyncio.sleep(0)
        if image == b"bad":
            raise RuntimeError("no face")
        return image.decode()

    async def run() -> None:
        cache = portraits.PortraitCache(encode, 2, lambda hit: None)
        for image in (b"a", b"b", b"a", b"c", b"a", b"b"):
            assert await cache.get(image) == image.decode()
        assert encoded == [b"a", b"b", b"c", b"b"]  # b was used longest ago when c came
        for _ in range(2):
            with pytest.raises(RuntimeError, match="no face"):
                await cache.get(b"bad")
        assert encoded.count(b"bad") == 2

    asyncio.run(run())


def test_one_caller_s_leaving_does_not_take_the_portrait_from_another() -> None:
    async def encode(image: bytes) -> str:
        await asyncio.sleep(0.01)
        return "portrait"

    async def run() -> None:
        cache = portraits.PortraitCache(encode, 2, lambda hit: None)
        leaving, staying = (asyncio.create_task(cache.get(b"a")) for _ in range(2))
        await asyncio.sleep(0)
        leaving.cancel()
        assert await staying == "portrait"

    asyncio.run(run())


@pytest.mark.parametrize(("box", "aspect"), [((0, 0, 200, 200), 1), ((5, 0, 206, 200), 1), ((0, 0, 150, 200), 0.75)])
def test_pixels_are_oblong_where_the_face_was_cut_oblong(box: tuple, aspect: float) -> None:
    assert portraits.pixel_aspect(np.array([*box, 300, 300])) == Fraction(aspect)
