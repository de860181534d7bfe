"""`activity balance` that dies at a chosen step of a move: `python -m tests.faults.dying_balance
POINT HEAD`. It balances until it comes to the point, and ends there with code 9, as after kill -9.
"""

import os
import sys
from typing import Any

import django

DIED = 9
POINTS = (
    "before the take",
    "after the take's script",
    "after the take",
    "before the give",
    "after the give's script",
    "after the give",
)


def die_at(point: str) -> None:
    """Arm the point."""
    from seckill.control import act_script, moves
    from seckill.models import Move

    if point in ("after the take", "after the give"):
        # The act is done, and the move does not say so.
        state = Move.State.PLANNED if point == "after the take" else Move.State.TAKEN
        reached = moves._reached

        def cut(move: Move, before: str, after: str, **more: Any) -> None:
            if before == state and after != Move.State.DROPPED:
                os._exit(DIED)
            reached(move, before, after, **more)

        moves._reached = cut
        return
    script = "take_stock" if "take" in point else "add_stock"
    run = act_script.run_script

    def last(client: Any, name: str, keys: list[str], args: list[Any]) -> Any:
        if name == script and point.startswith("before"):
            os._exit(DIED)
        answer = run(client, name, keys, args)
        if name == script and int(answer[0]) > 0:
            os._exit(DIED)
        return answer

    act_script.run_script = last


def main() -> None:
    point, head = sys.argv[1:]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "seckill_project.settings")
    django.setup()
    die_at(point)
    from django.core.management import call_command

    call_command("activity", "balance", head, "--watch", "0.2")


if __name__ == "__main__":
    main()
