"""What may be asked, by whom, under which rule: one line a command."""

from collections.abc import Callable
from typing import Any, NamedTuple

from seawall.oversight import (
    cash,
    governing,
    listing,
    owning,
    prices,
    reporting,
    riskrows,
    ticking,
)
from seawall.oversight.house import Context
from seawall.protocol import commands
from seawall.protocol.commands import AnyCommand, Role


class Door(NamedTuple):
    """How one kind of command is judged and applied."""

    rule: str
    roles: Role
    """Any of these bits will do; none means that the judgement looks at roles itself."""
    judge: Callable[[Context, Any], int]
    act: Callable[[Context, Any], None]


REPORTS = (reporting.judge_report, reporting.tell_report)

DOORS: dict[type[AnyCommand], Door] = {
    commands.Tick: Door("TIME-01", Role.CLOCK, ticking.judge_tick, ticking.tick),
    commands.ActivateRules: Door(
        "GOVN-03", Role.GOVERN, governing.judge_rules, governing.activate_rules
    ),
    commands.SetParameter: Door(
        "GOVN-02", Role.GOVERN, governing.judge_parameter, governing.set_parameter
    ),
    commands.AddSender: Door("GOVN-04", Role.GOVERN, governing.judge_sender, governing.add_sender),
    commands.RotateKey: Door("GOVN-04", Role(0), governing.judge_key, governing.rotate_key),
    commands.SetReplicas: Door(
        "GOVN-04", Role.GOVERN, governing.judge_replicas, governing.set_replicas
    ),
    commands.ListInstrument: Door(
        "PROD-03", Role.GOVERN, listing.judge_listing, listing.list_instrument
    ),
    commands.SetHalt: Door("BRKR-03", Role.OPERATE, governing.judge_halt, governing.set_halt),
    commands.OpenAccounts: Door("ACCT-01", Role.CLIENT, owning.judge_opening, owning.open_accounts),
    commands.OpenSubAccounts: Door(
        "ACCT-02", Role.CLIENT, owning.judge_sub_opening, owning.open_sub_accounts
    ),
    commands.CloseAccount: Door("ACCT-03", Role.CLIENT, owning.judge_closing, owning.close_account),
    commands.SetMode: Door("ACCT-04", Role.CLIENT, owning.judge_mode, owning.set_mode),
    commands.RecordDeposits: Door("LEDG-02", Role.CUSTODY, *REPORTS),
    commands.Withdraw: Door("LEDG-03", Role.CLIENT, cash.judge_withdrawal, cash.withdraw),
    commands.Transfer: Door("LEDG-04", Role.CLIENT, cash.judge_transfer, cash.transfer),
    commands.RecordTrades: Door("LEDG-05", Role.TRADES, *REPORTS),
    commands.ConfirmReport: Door("LEDG-06", Role.TRADES | Role.CUSTODY, *REPORTS),
    commands.PublishPrices: Door("MARK-01", Role.PRICES, prices.judge_publish, prices.publish),
    commands.PublishRisk: Door("MARG-04", Role.RISK, riskrows.judge_proposal, riskrows.propose),
    commands.AttestRisk: Door(
        "MARG-04", Role.ATTEST, riskrows.judge_attestation, riskrows.activate
    ),
    commands.ReportEffect: Door("OUTB-01", Role.EFFECTS, cash.judge_effect, cash.report_effect),
}
