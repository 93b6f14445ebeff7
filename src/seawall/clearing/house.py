"""Genesis: the house opens with its limits, assets, senders, replicas and parameters (GOVN-01)."""

from seawall.clearing.accounts import open_house_accounts
from seawall.clearing.governance import BOUNDS, admit, are_voters, check_parameter
from seawall.clearing.instruments import check_asset, list_asset
from seawall.clearing.layout import ASSETS_MAX, AT_NS, EPOCH, RULES, SEQ
from seawall.clearing.outcome import Refusal
from seawall.clearing.state import State, Tables
from seawall.protocol.codes import Reject
from seawall.protocol.commands import Role
from seawall.protocol.genesis import RULES_VERSION, Genesis, Limits
from seawall.protocol.ids import HOUSE_ROWS
from seawall.protocol.signatures import KEY_BYTES

# name -> (least, most): what a house of this build can be.
LIMIT_BOUNDS: dict[str, tuple[int, int]] = {
    "accounts_max": (HOUSE_ROWS + 1, 1 << 24),
    "extensions_max": (0, 1 << 20),
    "instruments_max": (2, 1 << 12),
    "feeds_max": (2, 1 << 12),
    "sources_max": (1, 64),
    "senders_max": (1, 1 << 12),
    "units_max": (1, 1 << 10),
    "rows_max": (8, 1 << 10),
    "outbox_max": (1, 1 << 16),
    "cases_max": (1, 1 << 20),
    "reports_max": (1, 1 << 12),
    "streams_max": (1, 1 << 10),
    "recents_max": (8, 1 << 12),
    "column_max": (1, 1 << 17),
    "clocks_max": (1, 64),
}
NAME_MAX = 64
assert tuple(LIMIT_BOUNDS) == Limits.__struct_fields__


def check_genesis(genesis: Genesis) -> Refusal | None:
    """Return why the house may not open so, or None; the field is a path into the genesis."""
    return (
        _check_limits(genesis.limits)
        or _check_parameters(genesis)
        or _check_people(genesis)
        or _check_assets(genesis)
    )


def open_house(genesis: Genesis, log_id: bytes) -> State:
    """Return the state after entry 1."""
    tables = Tables(
        log_id=log_id,
        name=genesis.name,
        parameters={},
        replicas=genesis.replicas,
        operators_min=genesis.operators_min,
        senders=[],
        asset_names=[],
        instrument_names=[""],
        clocks={},
        sources=[],
        streams={},
        reports={},
        outbox={},
        proposals={},
        active_risk={},
        row_names={},
        changes=[],
        generations={},
        vacant_rows=[],
    )
    state = State(genesis.limits, tables)
    state.scalar[SEQ] = 1
    state.scalar[AT_NS] = genesis.at_ns
    state.scalar[RULES] = genesis.rules_version
    state.scalar[EPOCH] = 1
    state.open_house(genesis.parameters)
    open_house_accounts(state)
    for terms in genesis.assets:
        list_asset(state, terms)
    for sender in genesis.senders:
        admit(state, sender.name, sender.public_key, sender.roles)
    return state


def _check_limits(limits: Limits) -> Refusal | None:
    for name, (least, most) in LIMIT_BOUNDS.items():
        if not least <= getattr(limits, name) <= most:
            return Reject.TERMS_RANGE, f"limits.{name}"
    if limits.rows_max % 8:
        return Reject.TERMS_RANGE, "limits.rows_max"
    return None


def _check_parameters(genesis: Genesis) -> Refusal | None:
    if not 1 <= len(genesis.name) <= NAME_MAX:
        return Reject.TERMS_RANGE, "name"
    if not 0 <= genesis.at_ns < 1 << 62:
        return Reject.TERMS_RANGE, "at_ns"
    if not 1 <= genesis.rules_version <= RULES_VERSION:
        return Reject.TERMS_RANGE, "rules_version"
    for name in BOUNDS:
        if check_parameter(name, getattr(genesis.parameters, name)):
            return Reject.TERMS_RANGE, f"parameters.{name}"
    return None


def _check_people(genesis: Genesis) -> Refusal | None:
    if not are_voters(genesis.replicas):
        return Reject.TERMS_RANGE, "replicas"
    senders = genesis.senders
    names = [sender.name for sender in senders]
    if not 1 <= len(names) <= genesis.limits.senders_max or len({*names}) != len(names):
        return Reject.TERMS_RANGE, "senders"
    if any(len(sender.public_key) != KEY_BYTES for sender in senders):
        return Reject.TERMS_RANGE, "senders"
    if not 1 <= sum(1 for s in senders if s.roles & Role.CLOCK) <= genesis.limits.clocks_max:
        return Reject.TERMS_RANGE, "senders"
    if sum(1 for s in senders if s.roles & Role.PRICES) > genesis.limits.sources_max:
        return Reject.TERMS_RANGE, "senders"
    if genesis.operators_min < 1:
        return Reject.TERMS_RANGE, "operators_min"
    return None


def _check_assets(genesis: Genesis) -> Refusal | None:
    if not 1 <= len(genesis.assets) <= ASSETS_MAX:
        return Reject.TERMS_RANGE, "assets"
    if len({terms.name for terms in genesis.assets}) != len(genesis.assets):
        return Reject.NAME_TAKEN, "assets"
    for place, terms in enumerate(genesis.assets):
        refusal = check_asset(genesis.limits, terms, valuation=place == 0)
        if refusal:
            return refusal[0], f"assets[{place}].{refusal[1]}"
    return None
