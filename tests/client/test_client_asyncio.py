"""Things that only asyncio can do to an animation."""

import asyncio
import gc

import pytest
from fake_triton import endless
from sadtalker_client import AnimationCancelledError, AsyncSadTalkerClient, InvalidInputError

INPUT = (b"picture", b"sound")


def test_cancelling_the_task_cancels_the_work(server, tmp_path):
    server.answer = lambda request: endless()

    async def run():
        async with AsyncSadTalkerClient(server.url) as client:
            some = asyncio.Event()
            saving = client.animate(*INPUT).save(tmp_path / "out.mp4", lambda fragment: some.set())
            task = asyncio.create_task(saving)
            await some.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await asyncio.to_thread(server.cancelled.wait, 20)

    assert asyncio.run(run())
    assert list(tmp_path.iterdir()) == []


def test_another_task_may_cancel(server):
    server.answer = lambda request: endless()

    async def run():
        async with AsyncSadTalkerClient(server.url) as client:
            animation = client.animate(*INPUT)
            asyncio.get_running_loop().call_later(0.2, animation.cancel)
            with pytest.raises(AnimationCancelledError):
                await animation.read()
            return await asyncio.to_thread(server.cancelled.wait, 20)

    assert asyncio.run(run())


def test_an_animation_cancelled_before_it_is_awaited_is_not_sent(server):
    async def run():
        async with AsyncSadTalkerClient(server.url) as client:
            animation = client.animate(*INPUT)
            animation.cancel()
            with pytest.raises(AnimationCancelledError, match="before it was sent"):
                await animation.read()

    asyncio.run(run())
    assert server.requests == []


def test_a_finished_animation_stays_finished(server):
    async def run():
        async with AsyncSadTalkerClient(server.url) as client:
            animation = client.animate(*INPUT)
            first = await animation.read()
            return first, await animation.read()

    assert asyncio.run(run()) == (b"onetwothree", b"")


def test_the_event_loop_goes_on_while_it_waits(server):
    server.answer = lambda request: endless()

    async def run():
        ticks = 0
        async with AsyncSadTalkerClient(server.url) as client, client.animate(*INPUT) as animation:
            reading = asyncio.create_task(animation.read())
            while ticks < 50:
                await asyncio.sleep(0.002)
                ticks += 1
            animation.cancel()
            with pytest.raises(AnimationCancelledError):
                await reading

    asyncio.run(asyncio.wait_for(run(), 30))


def test_an_animation_that_outlives_its_loop_goes_quietly(server):
    server.answer = lambda request: endless()
    kept = []

    async def run():
        client = AsyncSadTalkerClient(server.url)
        kept.append(client.animate(*INPUT))
        await anext(kept[0])

    asyncio.run(run())
    kept.clear()
    gc.collect()
    assert server.cancelled.wait(20)


def test_unreadable_input_is_told_when_awaited(server, tmp_path):
    async def run():
        async with AsyncSadTalkerClient(server.url) as client:
            animation = client.animate(tmp_path / "no.png", b"sound")
            with pytest.raises(InvalidInputError, match=r"portrait: cannot read .*no\.png"):
                await animation.read()

    asyncio.run(run())
    assert server.requests == []
