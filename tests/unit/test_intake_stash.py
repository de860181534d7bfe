"""What an intake keeps of each partition when one of them goes elsewhere. No client is asked."""

from typing import Any

from seckill.broker import Slice
from seckill.intake import Held, Intake
from seckill.shutdown import Shutdown

NOBODY: Any = None


def test_a_partition_that_moves_takes_its_own_messages_along() -> None:
    intake = Intake(NOBODY, Shutdown(), NOBODY, NOBODY, batch_size=10)
    slices = [Slice(partition, [7, 8], [b"", b""]) for partition in (0, 1, 0, 2)]
    intake._stash, intake.held = slices, {0: Held(7, 7), 1: Held(7, 7)}
    intake.go_to(0, 3, generation=2)
    assert intake.held == {0: Held(3, 3, 2), 1: Held(7, 7)}
    assert intake._stash == [slices[1], slices[3]]
    assert intake._unplaced == {0}
