"""Paper doors: a venue, a bank and a pager that do nothing in the world and honour every key."""

from collections.abc import Callable

from seawall.protocol.commands import EffectStatus
from seawall.protocol.effects import AnyEffect, Payout, PlaceOrder

Trade = Callable[[int, int, int, int], bool]
"""Executes (account, instrument, signed lots, limit) and tells whether anything was filled."""


class Paper:
    """The outside world of the demo, as `node.effects.Door`.

    Attributes
    ----------
    ended : how each effect ended, by its key; asked again under a key, it does nothing twice
    asked_again : keys that were executed before and asked for once more
    """

    def __init__(self, trade: Trade) -> None:
        self.ended: dict[str, EffectStatus] = {}
        self.asked_again: list[str] = []
        self.paid_minor: dict[int, int] = {}
        """Paid out so far, by asset."""
        self._trade = trade

    async def execute(self, key: str, effect: AnyEffect) -> EffectStatus:
        """Let the effect take place, once, and return how it ended."""
        known = self.ended.get(key)
        if known is not None:
            self.asked_again.append(key)
            return known
        status = EffectStatus.DONE
        if isinstance(effect, PlaceOrder):
            filled = self._trade(
                effect.account_id, effect.instrument_id, effect.lots, effect.limit_ticks
            )
            status = EffectStatus.DONE if filled else EffectStatus.FAILED
        elif isinstance(effect, Payout):
            paid = self.paid_minor.get(effect.asset_id, 0)
            self.paid_minor[effect.asset_id] = paid + effect.amount_minor
        self.ended[key] = status
        return status

    async def query(self, key: str) -> EffectStatus | None:
        """Return how the effect of this key ended, None if it never began."""
        return self.ended.get(key)
