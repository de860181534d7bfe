"""The shell commands that a Markdown page shows, and a shell that runs them as a reader would.

Owns what counts as a command: a line of a block, or the inside of backticks, that begins with a
known program, or with one of our commands and its arguments.
"""

import os
import re
import shlex
import subprocess
from pathlib import Path

from seckill.config.layers import BASE_DIR
from tests.unit.project.pages import FENCED, INDENTED, INLINE

PROGRAMS = r"(?:manage\.py|make|python|curl|docker|eval|source|st|kcat|psql|pg_\w+|redis-cli)"
PROGRAMS = rf"(?:{PROGRAMS}|valkey-cli|systemctl|systemd-analyze|journalctl|tar|helm)"
PROGRAMS = rf"(?:{PROGRAMS}|kafka-[\w-]+\.sh)"
OURS = "activity|add_stock|audit|bench|dead_letters|recover|report|run_\\w+|set_stock|status"
# Seconds for a command of a page, on a machine that is busy with much else.
PATIENCE_S = 240.0


def blocks(text: str) -> list[str]:
    """The insides of a page's blocks of code, without their indent."""
    fenced = [block.split("\n", 1)[1].rsplit("```", 1)[0] for block in FENCED.findall(text)]
    indented = INDENTED.findall("\n" + FENCED.sub("", text))
    return fenced + [re.sub(r"^    ", "", block, flags=re.M).strip("\n") for block in indented]


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next one of its level or above."""
    _, mark, rest = re.split(rf"^(#+) {re.escape(heading)}\n", text, maxsplit=1, flags=re.M)
    return re.split(rf"^#{{1,{len(mark)}}} ", rest, maxsplit=1, flags=re.M)[0]


def script(text: str, heading: str) -> str:
    """The blocks below a heading, one after the other, as a shell takes them."""
    return "\n".join(blocks(section(text, heading)))


def commands(text: str) -> list[str]:
    """All commands of a page, in order, each in its plainest form."""
    found = []
    for block in blocks(text):
        block = re.sub(r"(<<'(\w+)'\n)(?s:.*?)\n\2$", r"\1", block, flags=re.M)
        for line in block.replace("\\\n", " ").splitlines():
            found += [plain(part) for part in line.split(" && ")]
    inline = INLINE.findall(INDENTED.sub("", FENCED.sub("", text)))
    found += [plain(inside) for inside in inline]
    return [command for command in found if re.match(rf"{PROGRAMS} ", command)]


def plain(line: str) -> str:
    """Without what changes nothing: the environment's path, comments, `time`, `&`, `> file`."""
    line = re.sub(r"\s+#.*", "", line).strip().removesuffix("&").strip()
    line = re.sub(r"^/usr/bin/time |\.venv/bin/(?=python)", "", line)
    line = re.sub(r"\bpython (?=manage\.py)", "", line)
    line = re.sub(r" > \S+$", "", re.sub(r" +", " ", line))
    return f"manage.py {line}" if re.match(rf"(?:{OURS}) \S", line) else line


class Shell:
    """A reader's shell: the repository's files in a folder of its own, and `manage.py` a program.

    What a command writes beside them is not in the repository. `variables` are kept for all calls.
    The folder's path has a space, as a reader's may.
    """

    def __init__(self, folder: Path, **variables: str) -> None:
        self.place, programs = folder / "a place", folder / "programs"
        for made in (self.place, programs):
            made.mkdir(parents=True)
        for entry in BASE_DIR.iterdir():
            if entry.name[0] != "." or entry.name == ".venv":
                (self.place / entry.name).symlink_to(entry)
        program = programs / "manage.py"
        run = shlex.join([str(self.place / ".venv/bin/python"), str(self.place / "manage.py")])
        program.write_text(f'#!/bin/sh\nexec {run} "$@"\n')
        program.chmod(0o755)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("SECKILL_")}
        self.environment = {
            **inherited,
            "SECKILL_CONFIG": os.devnull,
            "SECKILL_SECRET_KEY": "only for tests",
            "PATH": f"{programs}:{inherited['PATH']}",
            "PYTHONUNBUFFERED": "1",
            **variables,
        }

    def start(self, script: str) -> "subprocess.Popen[str]":
        """A script that runs on; the caller ends it. It leads a process group."""
        return subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.place,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, script: str) -> tuple[int, str]:
        """Exit code and output of a script that ends."""
        process = self.start(script)
        output, _ = process.communicate(timeout=PATIENCE_S)
        return process.returncode, output

    def keep(self, exports: str) -> None:
        """Take over what lines `export NAME=value` say."""
        for name, value in re.findall(r"^export (\w+)='?(.*?)'?$", exports, re.M):
            self.environment[name] = value
