"""The end of a door's tasks."""

import asyncio

from seckill.web.door.serve import end


async def _deaf(loses: int) -> None:
    """A task that loses so many cancellations, as asyncio.wait_for does."""
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if not loses:
                raise
            loses -= 1


async def _fails() -> None:
    raise ValueError("a bug, which is raised elsewhere")


def test_a_task_that_loses_a_cancellation_ends_all_the_same() -> None:
    async def all_end() -> list[bool]:
        tasks = [asyncio.create_task(_deaf(n)) for n in range(2)] + [asyncio.create_task(_fails())]
        await asyncio.sleep(0)
        async with asyncio.timeout(60):
            await end(tasks)
        assert isinstance(tasks[2].exception(), ValueError)
        return [task.cancelled() for task in tasks]

    assert asyncio.run(all_end()) == [True, True, False]
