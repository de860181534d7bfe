"""One secured stack for all tests of this folder, started when the first of them needs it."""

import gc
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack import kafka
from devstack.stack import Stack
from tests.helpers.secured import SecuredSale

# Tokens beside passwords. Nobody signs them here: Kafka's own check for tests takes their subject.
TOKENS = r"""
listener.name.clients.sasl.enabled.mechanisms=SCRAM-SHA-512,OAUTHBEARER
listener.name.clients.oauthbearer.sasl.jaas.config=\
  org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
  unsecuredLoginStringClaim_sub="server";
"""


@pytest.fixture(scope="session")
def secured_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Services with passwords, rights and TLS, whose Kafka tells of each right it looks at."""
    stack = Stack(tmp_path_factory.mktemp("secured"))
    with pytest.MonkeyPatch.context() as patch:
        told = "-Dorg.slf4j.simpleLogger.log.kafka.authorizer.logger=debug"
        patch.setattr(kafka, "JAVA_OPTIONS", (*kafka.JAVA_OPTIONS, told))
        patch.setattr(kafka, "SECURED", kafka.SECURED + TOKENS)
        stack.up(owner_pid=os.getpid(), secured=True)
    owner = SecuredSale(stack, stack.folder)
    owner.run("migrate", "--verbosity", "0")
    owner.close()
    yield stack
    stack.remove()


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """kafka-python leaves the sockets of what it could not open to the garbage collector: they are
    collected here, where no warning fails a test. A socket that somebody still has stays open.
    """
    gc.disable()
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    gc.enable()


@pytest.fixture
def secured(secured_stack: Stack, tmp_path: Path) -> Iterator[SecuredSale]:
    """Commands on it."""
    sale = SecuredSale(secured_stack, tmp_path)
    yield sale
    sale.close()
