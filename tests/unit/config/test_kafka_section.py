"""Parameters of Kafka's security that mean nothing, or something else, without each other."""

import pytest

from seckill.config.layers import ConfigError, load
from seckill.config.sections import Server, Webhooks

NOWHERE = {"SECKILL_CONFIG": "/dev/null", "SECKILL_DEVSTACK": "/nowhere"}
SCRAM = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_username": "u", "sasl_password": "hunter2"}
CLIENT = {
    "oauth_token_url": "https://i/t",
    "oauth_client_id": "c",
    "oauth_client_secret": "hunter2",
}
OAUTH = {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"security_protocol": "SASL_SSL"}, "SASL_SSL needs a sasl_mechanism"),
        (SCRAM, "sasl_mechanism needs security_protocol SASL_SSL"),
        (
            {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "sasl_username": "u"},
            "PLAIN needs sasl_username and sasl_password",
        ),
        (OAUTH, "OAUTHBEARER needs oauth_token_file, or oauth_token_url"),
        ({**OAUTH, **CLIENT, "oauth_token_file": "/t"}, "not both"),
        ({"security_protocol": "SSL", "ssl_keyfile": "/k"}, "need ssl_certfile"),
        ({"ssl_certfile": "/c"}, "ssl_certfile needs security_protocol SSL or SASL_SSL"),
    ],
)
def test_what_does_not_belong_together_is_told(given: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as told:
        load(Server, given, NOWHERE)
    assert "section server" in str(told.value)
    assert "hunter2" not in str(told.value)


@pytest.mark.parametrize(
    "given",
    [
        {**OAUTH, **CLIENT},
        {**OAUTH, "oauth_token_file": "/t"},
        {"security_protocol": "SASL_SSL", **SCRAM, "ssl_certfile": "/c", "ssl_key_password": "x"},
        {"security_protocol": "SSL", "ssl_certfile": "/c", "ssl_keyfile": "/k"},
    ],
)
def test_what_belongs_together_is_taken(given: dict[str, str]) -> None:
    assert "hunter2" not in repr(load(Server, given, NOWHERE))


def test_a_webhooks_member_keeps_its_name() -> None:
    webhooks = load(Webhooks, {"group_instance_id": "pod-1"}, NOWHERE)
    assert webhooks.consumer("t", "shop").group_instance_id == "pod-1"
