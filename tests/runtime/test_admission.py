"""Which chunk is rendered next, and that no place is ever lost."""

import asyncio

from sadtalker_runtime.animation.admission import Admission, Schedule


def _order(places: int, urgencies: list[tuple[bool, float]]) -> list[int]:
    """Return the order in which chunks that arrive while all places are taken get theirs."""
    admitted: list[int] = []

    async def chunk(admission: Admission, number: int) -> None:
        async with admission.place(urgencies[number]):
            admitted.append(number)
            await asyncio.sleep(0)

    async def run() -> None:
        admission, done = Admission(places), asyncio.Event()

        async def hold() -> None:
            async with admission.place((False, 0.0)):
                await done.wait()

        holding = [asyncio.create_task(hold()) for _ in range(places)]
        await asyncio.sleep(0)
        chunks = [asyncio.create_task(chunk(admission, number)) for number in range(len(urgencies))]
        await asyncio.sleep(0)
        assert not admitted
        done.set()
        await asyncio.gather(*holding, *chunks)

    asyncio.run(run())
    return admitted


def test_first_chunks_go_first_then_what_is_due_soonest() -> None:
    assert _order(1, [(True, 3.0), (True, 2.0), (False, 9.0), (False, 8.0), (True, 1.0)]) == [3, 2, 4, 1, 0]


def test_equally_urgent_chunks_go_in_the_order_of_their_coming() -> None:
    assert _order(1, [(True, 1.0)] * 5) == [0, 1, 2, 3, 4]


def test_no_more_run_at_a_time_than_there_are_places() -> None:
    running, most = 0, 0

    async def chunk(admission: Admission, number: int) -> None:
        nonlocal running, most
        async with admission.place((True, float(number))):
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.001)
            running -= 1

    async def run() -> None:
        admission = Admission(3)
        await asyncio.gather(*(chunk(admission, number) for number in range(20)))

    asyncio.run(run())
    assert (running, most) == (0, 3)


def test_chunks_that_are_cancelled_or_fail_give_their_place_back() -> None:
    async def run() -> None:
        admission = Admission(2)

        async def chunk(fails: bool) -> None:
            async with admission.place((True, 0.0)):
                await asyncio.sleep(0)
                if fails:
                    raise RuntimeError

        for round_ in range(50):
            tasks = [asyncio.create_task(chunk(number % 3 == 0)) for number in range(9)]
            for _ in range(round_ % 7):
                await asyncio.sleep(0)
            for task in tasks[round_ % 4 :: 2]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        async with admission.place((True, 0.0)), admission.place((True, 0.0)):
            third = asyncio.create_task(chunk(False))
            await asyncio.sleep(0.01)
            assert not third.done()
        await asyncio.wait_for(third, 5)

    asyncio.run(run())


def test_a_video_is_due_from_the_moment_its_first_chunk_is_there() -> None:
    early, late = Schedule(10.0), Schedule(11.0)
    assert early.urgency(0) < late.urgency(0) < early.urgency(1)
    early.rendered(12.0)
    early.rendered(50.0)  # the later ones change nothing
    late.rendered(11.5)
    assert early.urgency(1) == (True, 12.2)
    assert late.urgency(2) < early.urgency(1) < late.urgency(4)  # 11.9, 12.2, 12.3
