"""What a door checks and signs with: made from the section before any service is asked."""

from dataclasses import dataclass

from seckill.web.door.tokens import BuyerTokens, ticket_secrets

from seckill.config.sections import Door as Section
from seckill.web.door.tickets import Tickets


@dataclass(frozen=True)
class Keys:
    """The keys of buyers' tokens, and the secrets of tickets."""

    tokens: BuyerTokens
    tickets: Tickets


def keys_of(section: Section) -> Keys:
    """Raises ConfigError that names what is missing."""
    return Keys(BuyerTokens.of(section), Tickets(ticket_secrets(section)))
