"""`run_sale --sandbox`: a sale of its own, for contract fuzzers and whoever tries calls out.

Owns what makes it one: services in a folder of their own, no rate limit, and nothing is left of it.
A fuzzer finishes sales and sets stock to anything, so it must never meet a sale that counts.
"""

import os
from collections.abc import MutableMapping

from devstack.stack import Stack
from seckill.config.layers import devstack_folder
from seckill.config.sections import ENV_PREFIX

SUFFIX = "-sandbox"
# Requests of its sale, if none are asked for: enough to see orders.
REQUESTS = 1_000


def enter(environ: MutableMapping[str, str]) -> None:
    """Let this process and all that it starts use the sandbox. Call it before anything else."""
    folder = devstack_folder(environ)
    environ[ENV_PREFIX + "DEVSTACK"] = str(folder.with_name(folder.name + SUFFIX))
    environ[ENV_PREFIX + "RATE_LIMIT"] = "0"


def leave() -> None:
    """Remove the services with their data. Only after `enter`."""
    folder = devstack_folder(os.environ)
    if folder.name.endswith(SUFFIX):
        Stack(folder).remove()


def advice(port: int, key: str) -> str:
    """What to run against it."""
    return (
        f'st run http://127.0.0.1:{port}/openapi.json -H "X-API-Key: {key}"\n'
        "This is a sandbox: fuzz it as you like. Ctrl-C removes it with its services."
    )
