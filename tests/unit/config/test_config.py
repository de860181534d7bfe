"""The configuration: the order of its layers, and errors that a person can act on."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from redis.connection import parse_url

from devstack.state import State
from seckill.config import embedded
from seckill.config.addresses import django_database
from seckill.config.layers import ConfigError, load
from seckill.config.sections import (
    DEFAULT_BROKERS,
    DEFAULT_TOPIC,
    Client,
    ControlApi,
    Door,
    LogWorker,
    Section,
    Server,
)

# As the program of the architecture document is configured: nothing may have to be changed.
ORIGINAL = """
server:
  brokers: "localhost:9092"
  topic: "seckill_requests"
  stock:
    1001: 10
    1002: 5
  timeout: 5000
  consumers: 4
  status_interval: 5
  reset_offset: true
  group_id: "seckill_server_group"
  redis_url: "redis://127.0.0.1/"
  pg_dsn: "postgres://postgres:password@localhost:5432/seckill"

client:
  brokers: "localhost:9092"
  topic: "seckill_requests"
  user_count: 100000
  rate: 5000
  delay: 10

log_worker:
  redis_url: "redis://127.0.0.1/"
  pg_dsn: "postgres://postgres:password@localhost:5432/seckill"

control_api:
  redis_url: "redis://127.0.0.1/"
  pg_dsn: "postgres://postgres:password@localhost:5432/seckill"
"""


class Layers:
    """A folder with a configuration file and, if wanted, embedded services."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "config.yaml"

    def load(
        self,
        section: type[Section] = Server,
        file: str = "",
        flags: Mapping[str, Any] | None = None,
        **environ: str,
    ) -> Any:
        self.file.write_text(file, encoding="utf-8")
        return load(
            section,
            flags,
            {
                "SECKILL_CONFIG": str(self.file),
                "SECKILL_DEVSTACK": str(self.folder / "devstack"),
                **environ,
            },
        )

    def embed(self) -> None:
        (self.folder / "devstack").mkdir()
        State(
            self.folder / "devstack",
            {"kafka": 21001, "valkey": 21002, "postgres": 21003},
            {"valkey": "v", "postgres": "p"},
        ).save()
        assert (self.folder / "devstack" / embedded.FILE).stat().st_mode & 0o077 == 0


@pytest.fixture
def layers(tmp_path: Path) -> Layers:
    return Layers(tmp_path)


def test_a_layer_wins_over_all_below_it(layers: Layers) -> None:
    assert layers.load().brokers == DEFAULT_BROKERS
    layers.embed()
    assert layers.load().brokers == "127.0.0.1:21001"
    file = "server: {brokers: 'file:1', topic: from-file, consumers: 2}"
    assert layers.load(file=file).brokers == "file:1"
    assert layers.load(file=file, SECKILL_BROKERS="environment:1").brokers == "environment:1"
    settings = layers.load(
        file=file,
        flags={"brokers": "flag:1", "topic": None},
        SECKILL_BROKERS="environment:1",
        SECKILL_CONSUMERS="3",
    )
    assert settings.brokers == "flag:1"
    # Each key by itself: a flag that is absent leaves the lower layers alone.
    assert (settings.topic, settings.consumers) == ("from-file", 3)
    assert settings.redis_url == "redis://:v@127.0.0.1:21002/0"
    assert settings.pg_dsn == "postgresql://seckill:p@127.0.0.1:21003/seckill"


def test_only_the_given_environment_counts(layers: Layers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECKILL_TOPIC", "somebody-elses")
    monkeypatch.setenv("SECKILL_CONSUMERS", "no number")
    settings = layers.load()
    assert (settings.topic, settings.consumers) == (DEFAULT_TOPIC, 1)
    with pytest.raises(ConfigError, match="SECKILL_CONSUMERS"):
        load(Server)


def test_a_variable_holds_for_every_section_that_has_the_key(layers: Layers) -> None:
    for section in (Server, LogWorker, ControlApi):
        settings = layers.load(section, SECKILL_REDIS_URL="redis://r/1", SECKILL_TOPIC="t")
        assert settings.redis_url == "redis://r/1"
    for section in (Server, Client):
        assert layers.load(section, SECKILL_TOPIC="t").topic == "t"


def test_the_originals_file_is_accepted_unchanged(layers: Layers) -> None:
    server = layers.load(Server, ORIGINAL)
    assert server.stock == {1001: 10, 1002: 5}
    assert (server.timeout, server.consumers, server.status_interval) == (5000, 4, 5.0)
    assert server.reset_offset is True
    assert server.redis_url == "redis://127.0.0.1/"
    client = layers.load(Client, ORIGINAL)
    assert (client.user_count, client.rate, client.delay) == (100_000, 5000.0, 10.0)
    for section in (LogWorker, ControlApi):
        assert layers.load(section, ORIGINAL).pg_dsn.startswith("postgres://")


@pytest.mark.parametrize("text", ["", "\n# nothing\n", "server:\n", "server:\n  stock:\n"])
def test_what_is_empty_leaves_the_defaults(layers: Layers, text: str) -> None:
    assert layers.load(file=text) == layers.load()


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    environ = {"SECKILL_CONFIG": os.devnull, "SECKILL_DEVSTACK": str(tmp_path)}
    settings = load(Server, {}, environ)
    assert (settings.brokers, settings.stock, settings.timeout) == ("localhost:9092", {}, None)


def test_a_file_that_is_named_has_to_be_there(tmp_path: Path) -> None:
    missing = tmp_path / "sale.yaml"
    environ = {"SECKILL_CONFIG": str(missing), "SECKILL_DEVSTACK": str(tmp_path)}
    with pytest.raises(ConfigError) as wrong:
        load(Server, {}, environ)
    assert str(wrong.value) == (
        f"SECKILL_CONFIG: there is no file {missing}; name an existing file, or /dev/null for none"
    )
    # An empty variable is no variable: the project's own file counts, which changes nothing.
    empty = {**environ, "SECKILL_CONFIG": ""}
    assert load(Server, {}, empty) == load(Server, {}, {**environ, "SECKILL_CONFIG": os.devnull})


@pytest.mark.parametrize("section", [LogWorker, ControlApi, Door])
def test_the_servers_stores_count_where_a_section_names_none(
    layers: Layers, section: type[Section]
) -> None:
    layers.embed()
    file = "server: {redis_url: 'redis://s', pg_dsn: 'postgres://s'}\n"
    found = layers.load(section, file)
    assert (found.redis_url, found.pg_dsn) == ("redis://s", "postgres://s")
    own = f"{file}{section.name}: {{redis_url: 'redis://own'}}"
    found = layers.load(section, own)
    assert (found.redis_url, found.pg_dsn) == ("redis://own", "postgres://s")
    found = layers.load(
        section, own, SECKILL_REDIS_URL="redis://environment", flags={"pg_dsn": "postgres://flag"}
    )
    assert (found.redis_url, found.pg_dsn) == ("redis://environment", "postgres://flag")
    # Only the stores, and only from there.
    file = "server: {metrics_port: 9101}\nclient: {log_format: json}"
    found = layers.load(section, file)
    assert (found.metrics_port, found.log_format) == (0, "text")
    assert found.redis_url == "redis://:v@127.0.0.1:21002/0"
    text = complaint(layers, section, "server: {pg_dsn: 'postgres://h:port/d'}")
    assert text.startswith(f"{layers.file}: server.pg_dsn: its port is not a number")


@pytest.mark.parametrize(
    ("given", "stock"),
    [
        ("1001:10,1002:5", {1001: 10, 1002: 5}),
        (" 1001:10 , 1002: 5,", {1001: 10, 1002: 5}),
        ("", {}),
        (f"{2**63 - 1}:{10**12}", {2**63 - 1: 10**12}),
    ],
)
def test_stock_as_one_word(layers: Layers, given: str, stock: dict[int, int]) -> None:
    assert layers.load(flags={"stock": given}).stock == stock
    assert layers.load(SECKILL_STOCK=given).stock == stock


def complaint(layers: Layers, *args: Any, **kwargs: Any) -> str:
    """The message of the ConfigError, which is one line."""
    with pytest.raises(ConfigError) as wrong:
        layers.load(*args, **kwargs)
    text = str(wrong.value)
    assert text
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("file", "key", "allowed"),
    [
        ("server: {timeout: -1}", "server.timeout", "greater than or equal to 1 (given: -1)"),
        ("server: {timeout: soon}", "server.timeout", "valid integer"),
        ("server: {timeout: yes}", "server.timeout", "must not be true or false"),
        ("server: {consumers: 0}", "server.consumers", "greater than or equal to 1"),
        ("server: {consumers: 1.5}", "server.consumers", "valid integer"),
        ("server: {status_interval: .inf}", "server.status_interval", "finite"),
        ("server: {reset_offset: 7}", "server.reset_offset", "valid boolean"),
        ("server: {topic: a b}", "server.topic", "pattern '^[a-zA-Z0-9._-]{1,200}$'"),
        ("server: {kafka_client: rdkafka}", "server.kafka_client", "'kafka-python' or"),
        ("server: {brokers: 5}", "server.brokers", "host:port with commas"),
        ("server: {group_id: ''}", "server.group_id", "at least 1 character"),
        ("server: {stock: 1001}", "server.stock", "1001:10,1002:5"),
        ("server: {stock: 1001-10}", "server.stock", "1001:10,1002:5"),
        ("server: {stock: '1:2,1:3'}", "server.stock", "item 1 is named twice"),
        ("server: {stock: {apple: 1}}", "server.stock", "valid integer"),
        ("server: {stock: {1001: -1}}", "server.stock", "greater than or equal to 0"),
        ("server: {stock: {0: 1}}", "server.stock", "greater than or equal to 1"),
        ("server: {stock: {1001: 1000000000001}}", "server.stock", "1000000000000"),
        ("server: {batch_size: 20001}", "server.batch_size", "20000"),
        ("server: {redis_url: localhost}", "server.redis_url", "redis://"),
        ("server: {pg_dsn: localhost}", "server.pg_dsn", "postgresql://user:password@host"),
    ],
)
def test_a_wrong_value_in_the_file(layers: Layers, file: str, key: str, allowed: str) -> None:
    text = complaint(layers, file=file)
    assert text.startswith(f"{layers.file}: {key}: ")
    assert allowed in text


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("server: {brokrs: x}", "unknown key server.brokrs; did you mean brokers?"),
        ("server: {colour: x}", "unknown key server.colour; known: batch_size, brokers"),
        ("server: {5: x}", "unknown key server.5; known: "),
        ("servers: {}", "unknown section 'servers'; did you mean server?"),
        ("cleint: {}", "unknown section 'cleint'; did you mean client?"),
        ("7: {}", "unknown section 7; known: client"),
        ("server: 5", "section server must hold `key: value` lines"),
        ("- server", "must hold sections (server, client, log_worker, control_api, door, settler"),
        ("server: [", "line 1: "),
        ("server:\n  topic: 'a\n", "line "),
        ("server: !!python/object:os.system {}", "could not determine a constructor"),
    ],
)
def test_a_wrong_file(layers: Layers, file: str, words: str) -> None:
    text = complaint(layers, file=file)
    assert text.startswith(str(layers.file))
    assert words in text


def test_another_sections_unknown_key_is_an_error_too(layers: Layers) -> None:
    assert "client.raet; did you mean rate?" in complaint(layers, Server, "client: {raet: 5}")


def test_a_file_that_is_no_text(layers: Layers) -> None:
    layers.file.write_bytes(b"\xff\xfe\x00")
    environ = {"SECKILL_CONFIG": str(layers.file), "SECKILL_DEVSTACK": str(layers.folder)}
    with pytest.raises(ConfigError, match=r"config\.yaml: cannot be read"):
        load(Server, {}, environ)
    with pytest.raises(ConfigError, match="cannot be read"):
        load(Server, {}, {**environ, "SECKILL_CONFIG": str(layers.folder)})


def test_a_wrong_flag_and_a_wrong_variable(layers: Layers) -> None:
    text = complaint(layers, flags={"status_interval": "often"})
    assert text.startswith("--status-interval: ")
    assert "(given: 'often'); it is the seconds between status lines" in text
    text = complaint(layers, SECKILL_TIMEOUT="-3")
    assert text.startswith("SECKILL_TIMEOUT: ")
    assert "greater than or equal to 1" in text
    assert complaint(layers, SECKILL_TOPC="t") == (
        "environment: unknown variable SECKILL_TOPC; did you mean SECKILL_TOPIC?"
    )
    # The culprit is the layer that has the last word, not one that it covers.
    file = "server: {timeout: 5}"
    assert complaint(layers, file=file, SECKILL_TIMEOUT="x").startswith("SECKILL_TIMEOUT: ")


SECRET = "hunter2"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("redis_url", f"http://:{SECRET}@localhost"),
        ("redis_url", f"redis://:{SECRET}@localhost:port/0"),
        ("redis_url", f"redis://:{SECRET}/x@localhost/0"),
        ("redis_url", f"redis://[:{SECRET}@localhost/0"),
        ("redis_url", f"redis://:12#{SECRET}@localhost/0"),
        ("redis_url", f"redis://:12#{SECRET}"),
        ("redis_url", f"redis://{SECRET}#@localhost/0"),
        ("redis_url", f"redis://:x@{SECRET}#y@localhost/0"),
        ("redis_url", f"redis://:x@{SECRET}?y@localhost/0"),
        ("redis_url", f"rediss://:x@{SECRET}/y@localhost/0"),
        ("redis_url", f"redis://u:12/{SECRET}@localhost:6379/0"),
        ("redis_url", f"unix://:{SECRET}/x@/run/redis.sock"),
        ("pg_dsn", f"mysql://u:{SECRET}@localhost/d"),
        ("pg_dsn", f"postgresql://u:%{SECRET}@localhost/d"),
        ("pg_dsn", f"postgresql://u:{SECRET}@localhost:5432/d?nonsense={SECRET}"),
        ("pg_dsn", f"postgresql://u:{SECRET}@[localhost/d"),
        ("pg_dsn", f"postgresql://u:x@{SECRET}@localhost/d"),
        ("pg_dsn", f"postgresql://u:12/{SECRET}@localhost/d"),
        ("pg_dsn", f"postgresql://u:x@y/{SECRET}@localhost/d"),
        ("brokers", f"kafka://u:{SECRET}@localhost:9092"),
        ("brokers", f"u:{SECRET},x#y@localhost:9092"),
        ("topic", f"redis://:{SECRET}@localhost"),
        ("stock", f"redis://u:{SECRET}@localhost"),
        ("otlp_endpoint", f"http://u:12#{SECRET}@localhost"),
        ("otlp_endpoint", f"grpc://u:{SECRET}@localhost"),
    ],
)
def test_an_address_that_cannot_be_read_is_not_repeated(
    layers: Layers, key: str, value: str
) -> None:
    for text in (
        complaint(layers, file=json.dumps({"server": {key: value}})),
        complaint(layers, flags={key: value}),
        complaint(layers, **{f"SECKILL_{key.upper()}": value}),
    ):
        assert key.replace("_", "") in text.lower().replace("_", "").replace("-", "")
        assert SECRET not in text


@pytest.mark.parametrize(
    "password", ["p#w", "p?w", "p/w", "p@w", "p:w", "p%w", "p w", "#", "12#34"]
)
def test_a_password_with_odd_characters_is_written_in_percent(
    layers: Layers, password: str
) -> None:
    written = quote(password, safe="")
    for host in ("h", "h:6379", "[::1]:6379"):
        settings = layers.load(
            flags={
                "redis_url": f"redis://:{written}@{host}/2",
                "pg_dsn": f"postgres://u:{written}@{host}/d",
            }
        )
        found = parse_url(settings.redis_url)
        assert (found["password"], found["db"]) == (password, 2)
        assert found["host"] == django_database(settings.pg_dsn)["HOST"]
        assert django_database(settings.pg_dsn)["PASSWORD"] == password


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("a,b/d", "names several hosts: write ?target_session_attrs=read-write"),
        ("a:1,b:2/d?target_session_attrs=any", "must be read-write: a standby"),
        ("a,b/d?target_session_attrs=prefer-standby", "must be read-write: a standby"),
        ("a/d?target_session_attrs=read-only", "must be read-write: a standby"),
        ("/d?host=a,b", "names several hosts"),
        ("a,b/d?target_session_attrs=read-write", ""),
        ("/d?host=a,b&target_session_attrs=primary", ""),
        ("a/d?target_session_attrs=any", ""),
    ],
)
def test_a_standby_is_never_taken_for_the_primary(layers: Layers, place: str, words: str) -> None:
    dsn = f"postgresql://u:{SECRET}@{place}"
    if not words:
        assert layers.load(flags={"pg_dsn": dsn}).pg_dsn == dsn
        return
    text = complaint(layers, flags={"pg_dsn": dsn})
    assert words in text
    assert SECRET not in text


def test_several_hosts_are_as_django_and_psycopg_read_them(layers: Layers) -> None:
    dsn = "postgresql://u@a:1,b:2/d?target_session_attrs=read-write"
    server = layers.load(flags={"pg_dsn": dsn, "pg_password": "p@w"})
    found = django_database(server.pg_dsn)
    assert (found["HOST"], found["PORT"], found["PASSWORD"]) == ("a,b", "1,2", "p@w")
    assert found["OPTIONS"]["target_session_attrs"] == "read-write"


@pytest.mark.parametrize(
    "url",
    [
        "unix:///run/redis@1/redis.sock?db=1",
        "unix://:pw@/run/redis.sock",
        "redis://:a@b@h/0",
        "redis://h?db=2",
    ],
)
def test_addresses_that_are_read_as_they_look(layers: Layers, url: str) -> None:
    assert layers.load(flags={"redis_url": url}).redis_url == url


@pytest.mark.parametrize(
    "word", [f"*{SECRET}", f"!{SECRET}", f"&{SECRET} &{SECRET}x", f"'{SECRET}"]
)
def test_a_password_that_yaml_takes_for_its_own_is_not_repeated(layers: Layers, word: str) -> None:
    assert SECRET not in complaint(layers, file=f"server: {{sasl_password: {word}}}")


def test_secrets_are_in_no_message_and_no_repr(layers: Layers) -> None:
    settings = layers.load(
        flags={
            "redis_url": f"redis://:{SECRET}@h/0",
            "pg_dsn": f"postgresql://u:{SECRET}@h/d",
            "sasl_password": SECRET,
        }
    )
    assert SECRET in settings.redis_url
    assert SECRET not in repr(settings) + str(settings)
    assert SECRET not in complaint(layers, file=f"server: {{sasl_password: [{SECRET}]}}")


def test_djangos_form_of_an_address() -> None:
    database = django_database("postgresql://u:p%25w@db.example:6543/sale?sslmode=require")
    assert (database["NAME"], database["USER"], database["PASSWORD"]) == ("sale", "u", "p%w")
    assert (database["HOST"], database["PORT"]) == ("db.example", "6543")
    assert database["OPTIONS"]["sslmode"] == "require"
    with pytest.raises(ValueError, match="cannot be read") as wrong:
        django_database(f"postgresql://u:%{SECRET}@h/d")
    assert SECRET not in str(wrong.value)
