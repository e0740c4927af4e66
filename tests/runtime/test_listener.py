"""A video waits for its listener, and not for ever."""

import asyncio

import pytest
from sadtalker_runtime.listener import Listener, StalledError


def test_what_was_sent_is_unread_until_it_is_acknowledged() -> None:
    listener = Listener(100, 1)
    for frames in (5, 10, 15):
        listener.sent(frames, 40)
    assert listener.behind
    listener.acknowledge(4)  # of no whole fragment
    assert listener.unread == 120
    listener.acknowledge(10)
    assert (listener.unread, listener.behind) == (40, False)
    listener.acknowledge(5)  # again, and too late
    listener.acknowledge(1_000)  # more than there is
    assert listener.unread == 0


def test_a_listener_that_keeps_up_is_not_waited_for() -> None:
    listener = Listener(100, 0)
    listener.sent(5, 99)
    assert asyncio.run(listener.catches_up(lambda: False))


def test_a_video_goes_on_when_enough_is_acknowledged() -> None:
    async def run() -> bool:
        listener = Listener(100, 30)
        for frames in (5, 10):
            listener.sent(frames, 100)
        waiting = asyncio.create_task(listener.catches_up(lambda: False))
        await asyncio.sleep(0.05)
        listener.acknowledge(5)
        await asyncio.sleep(0.05)
        assert not waiting.done()
        listener.acknowledge(10)
        return await asyncio.wait_for(waiting, 5)

    assert asyncio.run(run())


def test_every_acknowledgement_renews_the_patience() -> None:
    async def run() -> bool:
        listener = Listener(1, 1.0)
        for frames in range(1, 5):
            listener.sent(frames, 1)
        waiting = asyncio.create_task(listener.catches_up(lambda: False))
        for frames in range(1, 5):
            await asyncio.sleep(0.4)
            listener.acknowledge(frames)
        return await asyncio.wait_for(waiting, 5)

    assert asyncio.run(run())


def test_a_listener_that_stops_is_given_up() -> None:
    listener = Listener(100, 0.3)
    listener.sent(5, 150)
    message = r"within 0.3 s, got none with 150 bytes sent and not acknowledged \(limit 100\)"
    with pytest.raises(StalledError, match=message):
        asyncio.run(listener.catches_up(lambda: False))


def test_a_listener_that_leaves_is_noticed_while_it_is_waited_for() -> None:
    listener = Listener(100, 30)
    listener.sent(5, 150)
    left = iter([False, True])
    assert not asyncio.run(asyncio.wait_for(listener.catches_up(lambda: next(left)), 10))
