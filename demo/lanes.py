"""`run_sale --lanes N`: the same sale in several lanes, an activity in each.

Owns the services of such a sale, which are its own, since a checkout's file knows nothing of these
lanes later; and which part of the units and of the load is a lane's.
"""

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path

import yaml

from loadgen.profile_file import path_of
from seckill.config.layers import devstack_folder, read_config
from seckill.config.sections import DEFAULT_GROUP, DEFAULT_TOPIC, ENV_PREFIX
from seckill.formats.lanes import MAIN

MOST = 8
SUFFIX = "-lanes"
CONFIG, PROFILE = "config.yaml", "profile-{}.yaml"


def names(lanes: int) -> list[str]:
    """The lanes of a sale."""
    return [MAIN, *(f"lane-{number}" for number in range(2, lanes + 1))]


def enter(environ: MutableMapping[str, str], lanes: int) -> None:
    """Let this process and all that it starts use these lanes. Call it before anything else."""
    folder = devstack_folder(environ)
    folder = folder.with_name(folder.name + SUFFIX)
    folder.mkdir(parents=True, exist_ok=True)
    _, document = read_config(environ)
    document["lanes"] = {
        name: {"topic": f"{DEFAULT_TOPIC}_{name}", "group_id": f"{DEFAULT_GROUP}_{name}"}
        for name in names(lanes)[1:]
    }
    # It may repeat a password.
    (folder / CONFIG).touch(mode=0o600)
    (folder / CONFIG).write_text(yaml.safe_dump(document), encoding="utf-8")
    for variable in [name for name in environ if name.startswith(f"{ENV_PREFIX}LANE_")]:
        # Of a lane that this file does not name.
        del environ[variable]
    environ[ENV_PREFIX + "DEVSTACK"] = str(folder)
    environ[ENV_PREFIX + "CONFIG"] = str(folder / CONFIG)


def share(total: int, lanes: int, number: int) -> int:
    """The part of lane `number`, from 0, of so many units or requests."""
    return total * (number + 1) // lanes - total * number // lanes


def profile_for(profile: str, activities: Mapping[int, float], folder: Path) -> str:
    """The profile with other activities, as a file in the folder; its path."""
    document = yaml.safe_load(path_of(profile).read_text(encoding="utf-8"))
    document["activities"] = dict(activities)
    file = folder / PROFILE.format("-".join(map(str, activities)))
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return os.fspath(file)
