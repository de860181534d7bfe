"""The script for k6: Node reads it. k6 itself is not installed here, so its calls are not tried."""

import shutil
import subprocess
from pathlib import Path

from seckill.config.layers import BASE_DIR


def test_its_syntax(tmp_path: Path) -> None:
    # Node takes the name's end for the kind of a file: k6's are modules.
    module = shutil.copy(BASE_DIR / "loadgen" / "k6" / "click.js", tmp_path / "click.mjs")
    done = subprocess.run(
        ["node", "--check", str(module)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
