"""The help of every command of ours: its form is the same, and it says nothing that is not so."""

import re
from argparse import ArgumentParser, _SubParsersAction

import pytest
from django.core.management import CommandError, call_command, get_commands, load_command_class

from seckill import __version__
from seckill.config.layers import BASE_DIR
from seckill.management import base
from seckill.management.utility import ALIASES, OURS, Utility
from seckill.web.api import api

NAMES = sorted(name for name, app in get_commands().items() if str(app).partition(".")[0] in OURS)
every = pytest.mark.parametrize("name", NAMES)


def parser_of(name: str) -> ArgumentParser:
    """The parser that `manage.py NAME` makes."""
    command = load_command_class(get_commands()[name], name)
    return command.create_parser("manage.py", name)


def parsers(parser: ArgumentParser) -> list[ArgumentParser]:
    """It, and those of its subcommands."""
    found = [parser]
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            found += action.choices.values()
    return found


@every
def test_its_form(name: str) -> None:
    text = parser_of(name).format_help()
    own, _, rest = text.partition("flags of every command:")
    common, _, end = rest.partition("examples:")
    assert "--settings" in common
    assert "--settings" not in own
    assert f"manage.py {'finish' if name in ALIASES else name}".split("_activity")[0] in end
    assert "exit codes:\n  0    " in end
    assert "\n  2    " in end
    assert "\n  130  " in end


@every
def test_its_flags_are_explained_and_may_not_be_abbreviated(name: str) -> None:
    for parser in parsers(parser_of(name)):
        assert parser.allow_abbrev is False
        for action in parser._actions:
            assert action.help or isinstance(action, _SubParsersAction), action


@every
def test_its_examples_are_command_lines(name: str) -> None:
    command = load_command_class(get_commands()[name], name)
    assert isinstance(command, base.Command)
    for example in command.examples:
        line = re.sub(r"""#.*|[|>]+.*""", "", example)
        words = [word.strip("'\"") for word in re.findall(r""""[^"]*"|\S+""", line)]
        parser_of(name).parse_args(words)


def test_a_command_has_no_flag_that_it_does_not_use() -> None:
    """`recover` had nineteen of the consumer's."""
    flags = {flag for action in parser_of("recover")._actions for flag in action.option_strings}
    ours = {flag for flag in flags if flag not in Utility(["x"]).main_help_text()}
    assert "--consumers" not in ours
    assert {"--apply", "--from-kafka", "--accept-oversell", "--brokers"} <= ours


@pytest.mark.parametrize("flags", [("up", "--remove-data"), ("down", "--wait-s", "5")])
def test_a_flag_of_another_action_is_refused(flags: tuple[str, ...]) -> None:
    with pytest.raises(CommandError, match="belongs to devstack"):
        call_command("devstack", *flags)


def test_choices_and_units_are_named() -> None:
    text = " ".join(parser_of("run_consumer").format_help().split())
    assert "--kafka-client {kafka-python,confluent-kafka}" in text
    assert "--sasl-mechanism {PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER}" in text
    assert "--timeout-ms MS" in text
    assert "--connect-timeout-s S" in text
    # Earlier names work, and are not shown.
    assert "--timeout " not in text
    assert parser_of("run_consumer").parse_args(["--timeout", "7"]).timeout == "7"
    assert parser_of("run_consumer").parse_args(["--timeout-ms", "8"]).timeout == "8"
    assert parser_of("run_consumer").parse_args(["--drain-limit", "9"]).drain_limit == 9.0
    assert parser_of("run_consumer").parse_args([]).timeout is None


def test_an_abbreviation_is_refused_for_django_s_commands_too() -> None:
    parser = Utility(["manage.py"]).fetch_command("migrate").create_parser("manage.py", "migrate")
    assert parser.allow_abbrev is False


def test_the_list_names_every_command_once_and_no_alias() -> None:
    text = Utility(["manage.py"]).main_help_text()
    for name in NAMES:
        assert (re.search(rf"^  {name} ", text, re.MULTILINE) is None) is (name in ALIASES)


def test_there_is_one_version() -> None:
    project = (BASE_DIR / "pyproject.toml").read_text()
    assert f'\nversion = "{__version__}"\n' in project
    assert api.version == __version__
    with pytest.raises(CommandError):
        call_command("status", "--versio")
