"""What a door checks and signs with: made from the section before any service is asked."""

from dataclasses import dataclass

from seckill.config.keyring import ticket_secrets
from seckill.config.layers import ConfigError
from seckill.config.sections import Door as Section
from seckill.web.door.payers import Payers
from seckill.web.door.tickets import Tickets
from seckill.web.door.tokens import BuyerTokens


@dataclass(frozen=True)
class Keys:
    """The keys of buyers' tokens, the secrets of tickets, and who may report payments."""

    tokens: BuyerTokens
    tickets: Tickets
    payers: Payers


def keys_of(section: Section) -> Keys:
    """Raises ConfigError that names what is missing."""
    if section.ticket_secret is None:
        raise ConfigError(
            "ticket_secret: a door needs one, 16 characters or more, the same for all doors of a "
            "shop. Set SECKILL_TICKET_SECRET"
        )
    return Keys(
        BuyerTokens.of(section),
        Tickets(ticket_secrets(section.ticket_secret)),
        Payers.of(section),
    )
