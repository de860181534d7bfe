"""The users of a secured Kafka: each has the rights that `seckill.config.rights` gives it.

Asked of a node by the servers' own certificate, which may do everything.
"""

from collections.abc import Sequence

from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    KafkaAdminClient,
    ResourcePattern,
    ResourceType,
    UserScramCredentialUpsertion,
)
from kafka.errors import KafkaError

from devstack import certificates
from devstack.endpoints import ALL, HOST, SASL_MECHANISM, DevstackError
from devstack.state import State
from seckill.config.rights import KAFKA, Right
from seckill.config.sections import DEFAULT_GROUP, DEFAULT_TOPIC

# Seconds for the first answer.
ASK_S = 20


def give_rights(state: State, more: Sequence[Right] = ()) -> None:
    """Make the users with their passwords and rights; harmless again. `more` is for the user who
    may do everything. Raises DevstackError.
    """
    try:
        admin = KafkaAdminClient(
            bootstrap_servers=f"{HOST}:{state.ports['kafka_inside']}",
            bootstrap_timeout_ms=ASK_S * 1000,
            client_id="devstack",
            security_protocol="SSL",
            ssl_cafile=str(certificates.ca_file(state.folder)),
            ssl_certfile=str(certificates.pem_file(state.folder, certificates.SERVER)),
        )
        try:
            admin.alter_user_scram_credentials(
                [
                    UserScramCredentialUpsertion(user, SASL_MECHANISM, password)
                    for user, password in state.users_of("kafka").items()
                ]
            )
            acls = [acl for user in KAFKA for acl in _acls(user)]
            acls += [_acl(ALL, right, verb) for right in more for verb in right.verbs]
            failed = admin.create_acls(acls)["failed"]
        finally:
            admin.close()
    except (KafkaError, OSError) as wrong:
        raise DevstackError(f"kafka: its users could not be made: {wrong}") from None
    if failed:
        raise DevstackError(f"kafka: rights were refused: {failed[0].__name__}")


def _acls(user: str) -> list[ACL]:
    # Whoever may do everything may do what each of them may.
    return [
        _acl(who, right, verb)
        for right in KAFKA[user]
        for verb in right.verbs
        for who in (user, ALL)
    ]


def _acl(user: str, right: Right, verb: str) -> ACL:
    name = right.named(DEFAULT_TOPIC, DEFAULT_GROUP)
    begins = name.endswith("*")
    return ACL(
        principal=f"User:{user}",
        host="*",
        operation=ACLOperation[verb],
        permission_type=ACLPermissionType.ALLOW,
        resource_pattern=ResourcePattern(
            ResourceType[right.kind.upper()],
            name.removesuffix("*"),
            ACLResourcePatternType.PREFIXED if begins else ACLResourcePatternType.LITERAL,
        ),
    )
