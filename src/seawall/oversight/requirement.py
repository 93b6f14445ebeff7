"""Equity and requirement of one account, by the auditor's own reading (COLL-01, MARG-01 to 03).

Everything per lot is computed once per step in `Figures`; evaluating an account is then a handful
of integer operations a position, so that thousands of accounts can be followed in plain Python.
"""

from dataclasses import dataclass

from seawall.oversight.books import Account, Contract, Holding, ceil_div
from seawall.oversight.house import Asset, House
from seawall.protocol.commands import Mode
from seawall.protocol.events import Grade
from seawall.protocol.units import AMOUNT_MAX, PPB


@dataclass(slots=True, frozen=True)
class Worth:
    """What an account is worth and what it must be worth, valuation minor units."""

    equity: int
    maintenance: int
    initial: int
    doubtful: bool


@dataclass(slots=True)
class Figures:
    """One contract as of this step."""

    contract: Contract
    asset: int
    value: int
    scale: int
    factor_ppb: int
    in_doubt: bool
    asset_in_doubt: bool
    lapsed: bool
    unit: int
    """Risk unit whose rows apply, 0 for none."""


def convert(asset: Asset, net: int, *, haircut: bool = True) -> int:
    """Return an amount of an asset in valuation minor units (COLL-01).

    Rounding
    --------
    Against the account at each of the two steps: what it has down, what it owes up.
    """
    if net >= 0:
        worth = min(AMOUNT_MAX, net * asset.price // asset.unit)
        return worth * (PPB - asset.terms.haircut_ppb) // PPB if haircut else worth
    owed = min(AMOUNT_MAX, ceil_div(-net * asset.price, asset.unit))
    if not haircut:
        return -owed
    return -min(AMOUNT_MAX, ceil_div(owed * (PPB + asset.terms.liability_haircut_ppb), PPB))


class Valuation:
    """The house at this step's prices; make a new one after prices, terms or rows changed."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.figures = {each.id: self._figure(each) for each in house.books.contracts.values()}
        self.doubtful_assets = [
            position
            for position, asset in enumerate(house.assets)
            if position and asset.grade != Grade.FRESH
        ]

    def _figure(self, contract: Contract) -> Figures:
        unit = self.house.units.get(contract.terms.risk_unit)
        counts = unit is not None and unit.status > 0 and bool(contract.rows)
        return Figures(
            contract=contract,
            asset=contract.terms.asset_id,
            value=contract.value,
            scale=contract.terms.value_scale,
            factor_ppb=contract.terms.initial_factor_ppb,
            in_doubt=contract.grade != Grade.FRESH,
            asset_in_doubt=self.house.assets[contract.terms.asset_id].grade != Grade.FRESH,
            lapsed=unit is not None and unit.status == 2,
            unit=contract.terms.risk_unit if counts else 0,
        )

    def nets(self, account: Account, *, gains: bool = True) -> list[int]:
        """Return balance plus unrealised profit per asset; without gains, only the losses.

        Each position is rounded down on its own; losses and gains of one asset net first.
        """
        unrealised = [0] * len(account.balances)
        for contract_id, held in account.holdings.items():
            figure = self.figures[contract_id]
            unrealised[figure.asset] += (held.lots * figure.value - held.cost) // figure.scale
        if not gains:
            unrealised = [min(0, each) for each in unrealised]
        return [a + b for a, b in zip(account.balances, unrealised, strict=True)]

    def equity(self, account: Account, *, haircut: bool = True, gains: bool = True) -> int:
        """Return what the account is worth; raw without haircuts."""
        assets = self.house.assets
        return sum(
            convert(assets[position], net, haircut=haircut)
            for position, net in enumerate(self.nets(account, gains=gains))
            if net
        )

    def position_maintenance(self, contract: Contract, lots: int) -> int:
        """Return the cross maintenance of one position, valuation minor units (MARG-01)."""
        asset = self.house.assets[contract.terms.asset_id]
        scale = contract.terms.value_scale
        if contract.is_option:
            minor = ceil_div(abs(lots) * self._option_per_lot(contract, lots), scale)
            return min(AMOUNT_MAX, ceil_div(minor * asset.price, asset.unit))
        minor = ceil_div(abs(lots) * contract.notional, scale)
        notional = ceil_div(minor * asset.price, asset.unit)
        tiers = contract.terms.tiers
        last = 0
        while last + 1 < len(tiers) and tiers[last + 1].floor_minor <= notional:
            last += 1
        charge = ceil_div(notional * tiers[last].rate_ppb, PPB) - contract.deductions[last]
        return max(0, min(AMOUNT_MAX, charge))

    def _option_per_lot(self, contract: Contract, lots: int) -> int:
        """Return the requirement of one option lot in value units."""
        terms = contract.terms
        if lots > 0:
            # Paid for, it can lose nothing more; margined like a future, all that it is worth.
            return 0 if contract.is_premium else max(0, contract.value)
        index = contract.underlying // terms.value_per_tick
        out_ticks = (terms.strike_ticks - index) * (1 if terms.is_call else -1)
        out = max(0, out_ticks) * terms.value_per_tick
        by_rate = ceil_div(contract.underlying * terms.short_rate_ppb, PPB) - out
        return max(by_rate, ceil_div(contract.underlying * terms.short_floor_ppb, PPB))

    def requirement(self, account: Account) -> tuple[int, int]:
        """Return maintenance and initial at current prices (MARG-01 to 03)."""
        maintenance = initial = 0
        stale = False
        units: dict[int, list[tuple[Figures, Holding]]] = {}
        by_rows = account.mode == Mode.PORTFOLIO
        for contract_id, held in account.holdings.items():
            figure = self.figures[contract_id]
            stale = stale or figure.in_doubt or figure.lapsed
            if by_rows and figure.unit:
                units.setdefault(figure.unit, []).append((figure, held))
                continue
            charge = self.position_maintenance(figure.contract, held.lots)
            maintenance += charge
            initial += ceil_div(charge * figure.factor_ppb, PPB)
        for unit_id, positions in units.items():
            charge = self._unit_loss(unit_id, positions)
            maintenance += charge
            factor_ppb = max(figure.factor_ppb for figure, _ in positions)
            initial += ceil_div(charge * factor_ppb, PPB)
        if stale:
            initial = ceil_div(initial * self.house.parameters["stale_initial_ppb"], PPB)
        return maintenance, initial

    def _unit_loss(self, unit_id: int, positions: list[tuple[Figures, Holding]]) -> int:
        """Return the worst row of one unit's positions, valuation minor units (MARG-03)."""
        unit = self.house.units[unit_id]
        profits = [0] * max(len(figure.contract.rows) for figure, _ in positions)
        for figure, held in positions:
            lots = held.lots
            profits = [a + lots * b for a, b in zip(profits, figure.contract.rows, strict=True)]
        loss = max(0, -min(profits)) * unit.scale
        if unit.status != 2:
            return loss
        by_tiers = sum(
            self.position_maintenance(figure.contract, held.lots) for figure, held in positions
        )
        return max(loss, by_tiers)

    def is_doubtful(self, account: Account) -> bool:
        """Tell whether anything the account holds is priced in doubt (MARK-05)."""
        for each in account.holdings:
            figure = self.figures[each]
            if figure.in_doubt or figure.asset_in_doubt:
                return True
        return any(account.balances[each] for each in self.doubtful_assets)

    def evaluate(self, account: Account) -> Worth:
        """Return what is stored of an account at a step: in doubt no requirement falls."""
        maintenance, initial = self.requirement(account)
        doubtful = self.is_doubtful(account)
        if doubtful:
            maintenance = max(maintenance, account.maintenance)
            initial = max(initial, account.initial)
        return Worth(self.equity(account), maintenance, initial, doubtful)
