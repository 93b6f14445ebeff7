"""All that the world should now do; keyed `seq:index`, never executed after it expired."""

import msgspec


class Effect(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Base of all effects; `expires_at_ns` is machine time."""

    expires_at_ns: int


class Payout(Effect, frozen=True):
    """Send money out of custody."""

    account_id: int
    asset_id: int
    amount_minor: int
    destination: int


class PlaceOrder(Effect, frozen=True):
    """Trade on a venue for an account, immediate or cancel: buy if `lots` > 0, sell if < 0."""

    account_id: int
    instrument_id: int
    lots: int
    limit_ticks: int


class RaiseAlarm(Effect, frozen=True):
    """Tell the operators."""

    kind: str
    subject: int


AnyEffect = Payout | PlaceOrder | RaiseAlarm
