"""What `run_sale` refuses before it starts anything."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from demo.alone import MARK, SaleRuns, alone
from seckill.config.layers import BASE_DIR
from seckill.process import exit_codes


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--stock", "1001:many"], "--stock: "),
        (["--profile", "rsh"], "--profile: no profile 'rsh'"),
        (["--profile", "none/of/this.yaml"], "cannot be read"),
        (["--requests", "0"], "not a whole number above 0"),
        (["--consumers", "-1"], "not a whole number above 0"),
    ],
)
def test_a_mistake_is_one_line_and_starts_nothing(
    flags: list[str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("services are started")

    monkeypatch.setattr("devstack.stack.Stack.up", never)
    with pytest.raises(CommandError) as refused:
        call_command("run_sale", *flags)
    assert reason in str(refused.value)
    assert refused.value.returncode in (1, exit_codes.USAGE)


def test_a_second_sale_in_the_same_folder_is_told_at_once_and_changes_nothing(
    tmp_path: Path,
) -> None:
    variables = os.environ | {"SECKILL_DEVSTACK": str(tmp_path), "SECKILL_CONFIG": "/dev/null"}
    with alone(tmp_path, "http://127.0.0.1:3000/admin/"):
        before = set(tmp_path.iterdir())
        second = subprocess.run(
            [sys.executable, "manage.py", "run_sale", "--demo"],
            cwd=BASE_DIR,
            env=variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert second.returncode == exit_codes.FAILED
        assert f"(process {os.getpid()}, http://127.0.0.1:3000/admin/)" in second.stderr
        assert "Nothing was changed" in second.stderr
        assert second.stdout == ""
        # A file that keeps the folder out of repositories is no change of a sale.
        assert {file.name for file in set(tmp_path.iterdir()) - before} <= {".gitignore"}


def test_the_mark_of_a_dead_sale_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / MARK).write_text(json.dumps({"pid": 1, "address": "an older and longer one"}))
    runs = pytest.raises(SaleRuns, match=r"process [0-9]+, new\)")
    with alone(tmp_path, "new"), runs, alone(tmp_path, "newer"):
        raise AssertionError("two sales at once")
