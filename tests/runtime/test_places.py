"""Videos get places in the order of arrival, and everyone who waits has an end of their own."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sadtalker_runtime import places as places_module
from sadtalker_runtime.places import NoPlaceError, Places

MOST_SECONDS = 5.0  # for what takes hundredths of a second on a quiet machine


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often whether callers have left."""
    monkeypatch.setattr(places_module, "POLL_SECONDS", 0.02)


def stays() -> bool:
    return False


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(test(), MOST_SECONDS)

    asyncio.run(limited())


async def refused(entering: Awaitable[None]) -> NoPlaceError:
    with pytest.raises(NoPlaceError) as refusal:
        await entering
    return refusal.value


async def entering(places: Places, gone: Callable[[], bool] = stays, timeout: float = 0) -> asyncio.Task[None]:
    """Begin to enter."""
    task = asyncio.create_task(places.enter(timeout, gone))
    await asyncio.sleep(0)
    return task


def test_places_are_given_in_the_order_of_arrival() -> None:
    async def test() -> None:
        places, admitted = Places(2, 10), []

        async def video(number: int) -> None:
            await places.enter(0, stays)
            admitted.append(number)

        videos = [asyncio.create_task(video(number)) for number in range(6)]
        await asyncio.sleep(0.05)
        assert admitted == [0, 1] and places.waiting == 4
        for _ in range(4):
            places.leave()
            newcomer = asyncio.create_task(video(9))  # no one passes those in line
            await asyncio.sleep(0.05)
            newcomer.cancel()
            await asyncio.wait({newcomer})
        assert admitted == [0, 1, 2, 3, 4, 5] and places.waiting == 0
        await asyncio.gather(*videos)

    run(test)


def test_a_time_out_holds_behind_one_without() -> None:
    async def test() -> None:
        places = Places(1, 10)
        await places.enter(0, stays)
        patient = await entering(places)
        error = await refused(places.enter(0.1, stays))
        assert (error.reason, str(error)) == ("timeout", "no place for this video became free within 0.1 s")
        assert places.waiting == 1 and not patient.done()
        places.leave()
        await patient

    run(test)


def test_a_caller_who_leaves_is_taken_out_of_the_line() -> None:
    async def test() -> None:
        places, gone = Places(1, 10), False
        await places.enter(0, stays)
        first = await entering(places, lambda: gone)
        second = await entering(places)
        gone = True
        assert (await refused(first)).reason == "cancelled"
        assert places.waiting == 1
        places.leave()
        await second

    run(test)


def test_a_full_line_refuses_at_once() -> None:
    async def test() -> None:
        places = Places(1, 2)
        await places.enter(0, stays)
        line = [await entering(places) for _ in range(2)]
        error = await refused(places.enter(60, stays))
        assert error.reason == "full"
        assert str(error).startswith("Exceeds maximum queue size: 1 videos are being made and 2 wait")
        places.leave()
        await line[0]
        third = await entering(places)  # there is room again
        assert places.waiting == 2
        places.turn_away("the server is stopping")
        for waiting in (line[1], third):
            error = await refused(waiting)
            assert (error.reason, str(error)) == ("stopping", "the server is stopping")

    run(test)


def test_no_line_at_all() -> None:
    async def test() -> None:
        places = Places(1, 0)
        await places.enter(0, stays)
        assert (await refused(places.enter(0, stays))).reason == "full"
        places.leave()
        await places.enter(0, stays)

    run(test)


def test_a_place_given_to_one_who_is_just_cancelled_is_not_lost() -> None:
    async def test() -> None:
        places = Places(1, 10)
        await places.enter(0, stays)
        waiting = await entering(places)
        places.leave()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await places.enter(0, stays)

    run(test)
