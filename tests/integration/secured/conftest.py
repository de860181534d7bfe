"""One secured stack for all tests of this folder, started when the first of them needs it."""

import gc
import os
import socket
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
def _closed() -> Iterator[None]:
    """kafka-python leaves the sockets of what it could not open to the garbage collector."""
    known = {id(one) for one in _sockets()}
    yield
    for one in _sockets():
        if id(one) not in known:
            one.close()


def _sockets() -> list[socket.socket]:
    # By its type: a lazy object of Django's computes its value when it is asked for its class.
    return [one for one in gc.get_objects() if issubclass(type(one), socket.socket)]


@pytest.fixture
def secured(secured_stack: Stack, tmp_path: Path) -> Iterator[SecuredSale]:
    """Commands on it."""
    sale = SecuredSale(secured_stack, tmp_path)
    yield sale
    sale.close()
