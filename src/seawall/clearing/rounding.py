"""Rounding residues become whole minor units of the rounding account (ROND-01)."""

from seawall.clearing.layout import ASSET, INSTRUMENTS_USED, RESIDUAL, VALUE_SCALE
from seawall.clearing.ledger import Leg, post
from seawall.clearing.outcome import Out
from seawall.clearing.state import State
from seawall.protocol.events import Why
from seawall.protocol.ids import ROUNDING, account_row


def step_rounding(state: State, out: Out) -> None:
    """Move what has gathered to a whole minor unit from the variation accounts to ROUNDING."""
    legs: list[Leg] = []
    for instrument in range(1, state.scalar[INSTRUMENTS_USED]):
        scale = state.instrument[instrument, VALUE_SCALE]
        whole, rest = divmod(state.instrument[instrument, RESIDUAL], scale)
        if whole:
            asset = state.instrument[instrument, ASSET]
            state.instrument[instrument, RESIDUAL] = rest
            legs += [(-instrument, asset, -whole), (account_row(ROUNDING), asset, whole)]
    post(state, out, Why.ROUNDING, legs)
