"""Mischief: commands that are wrong, at the edge, from the wrong people, or no commands at all."""

from collections.abc import Callable, Coroutine
from typing import Any

from seawall.lab.charter import (
    CLIENTS,
    IDS,
    KEYS,
    LINEAR,
    ROLES,
    START_NS,
    USD,
    contracts,
    key_of,
)
from seawall.lab.desk import Desk
from seawall.lab.weather import Weather
from seawall.protocol.codec import encode_batch, pack_int32, pack_int64
from seawall.protocol.commands import (
    ActivateRules,
    AddSender,
    AnyCommand,
    AttestRisk,
    Batch,
    CloseAccount,
    ConfirmReport,
    ListInstrument,
    Mode,
    OpenAccounts,
    OpenSubAccounts,
    PublishPrices,
    PublishRisk,
    RecordDeposits,
    RecordTrades,
    ReportEffect,
    RotateKey,
    SetHalt,
    SetMode,
    SetParameter,
    SetReplicas,
    Tick,
    Transfer,
    Withdraw,
)
from seawall.protocol.ids import EXTERNAL, FEES, INSURANCE, account_id
from seawall.protocol.units import AMOUNT_MAX, INT64_MAX, INT64_MIN, NS_PER_MINUTE, PPB

EDGES = (0, 1, -1, 2, AMOUNT_MAX, AMOUNT_MAX + 1, -AMOUNT_MAX, INT64_MAX, INT64_MIN)
PARAMETERS = (
    ("warn_ppb", PPB, 2 * PPB),
    ("stale_ns", NS_PER_MINUTE, 5 * NS_PER_MINUTE),
    ("deviation_ppb", PPB // 200, PPB // 10),
    ("liquidation_deadline_ns", NS_PER_MINUTE, 10 * NS_PER_MINUTE),
    ("withdrawals_locked", 0, 1),
    ("checkpoint_entries", 7, 60),
    ("no such parameter", 0, 1),
    ("velocity_ppb", -5, PPB),
    ("governance_delay_ns", 0, 5 * NS_PER_MINUTE),
)


class Mischief:
    """Draws one odd act at a time."""

    def __init__(self, desk: Desk, weather: Weather) -> None:
        self._desk = desk
        self._chance = weather.chance
        self._serial = 0

    def draw(
        self, accounts: dict[str, list[int]], at_ns: int
    ) -> tuple[str, Coroutine[Any, Any, Any]]:
        """Return who asks, and the asking."""
        chance = self._chance
        self._serial += 1
        dice = chance.random()
        if dice < 0.15:
            return "spare", self._desk.scribble(self._draw_payload())
        sender, command = self._draw_command(accounts, at_ns)
        if dice < 0.3:
            # The right command from the wrong hand.
            sender = chance.choice([name for name in ROLES if name not in ("client b", "effects")])
        return sender, self._desk.ask(sender, command)

    def _draw_payload(self) -> bytes:
        """Return bytes that somebody put into the log past every gateway."""
        chance = self._chance
        log_id = self._desk.log_id
        sender_id = chance.choice((0, IDS["spare"], IDS["client a"], 99))
        number = chance.choice((0, 1, 5, 1 << 40))
        commands: tuple[AnyCommand, ...] = (Tick(START_NS),) if chance.random() < 0.8 else ()
        batch = Batch(log_id, sender_id, number, commands)
        signed = encode_batch(batch, KEYS["spare"])
        kinds: tuple[Callable[[], bytes], ...] = (
            lambda: chance.randbytes(chance.randrange(1, 200)),
            lambda: signed,
            lambda: signed[: chance.randrange(1, len(signed))],
            lambda: bytes((2,)) + signed[1:],
            lambda: signed + b"\x00",
            lambda: bytes((1, 0)) + signed[2:],
            lambda: encode_batch(Batch(bytes(32), sender_id, number, commands), KEYS["spare"]),
        )
        return chance.choice(kinds)()

    def _draw_command(self, accounts: dict[str, list[int]], at_ns: int) -> tuple[str, AnyCommand]:
        """Return a command that is odd by itself, and a sender that may ask for its kind."""
        chance = self._chance
        client = CLIENTS[0]
        own = chance.choice(accounts[client])
        other = chance.choice((*accounts["client b"], INSURANCE, FEES, EXTERNAL, 0, -1, 1 << 62))
        account = chance.choice((own, own, other, account_id(9, 12)))
        edge = chance.choice(EDGES)
        name, least, most = chance.choice(PARAMETERS)
        unique = self._serial
        terms = chance.choice(contracts(expiry_ns=at_ns + NS_PER_MINUTE))
        makers: tuple[tuple[str, Callable[[], AnyCommand]], ...] = (
            ("client a", lambda: Withdraw(account, chance.choice((USD, 1, 2, -1)), edge, unique)),
            ("client a", lambda: Transfer(account, own, USD, edge)),
            ("client a", lambda: Transfer(own, other, USD, 1_000 + unique)),
            ("client a", lambda: SetMode(account, chance.choice((0, 1, 2, 3)))),
            ("client a", lambda: CloseAccount(account)),
            ("client a", lambda: OpenAccounts(chance.choice((1, 1, 2, 0, 1 << 40)), Mode.CROSS)),
            ("client a", lambda: OpenSubAccounts(pack_int64([account]) + b"x" * (edge == 0))),
            ("venue a", lambda: self._deposits(account, edge)),
            ("venue a", lambda: self._trades(account, own, edge)),
            ("venue b", lambda: ConfirmReport(chance.choice((1, 2, 7)), edge, bytes(32))),
            ("source b", lambda: self._prices(at_ns, edge)),
            ("clock b", lambda: Tick(chance.choice((at_ns - NS_PER_MINUTE, 0, -1, INT64_MIN)))),
            ("risk", lambda: self._risk(at_ns, edge)),
            ("attest", lambda: AttestRisk(chance.choice((1, 2, -1)), chance.randbytes(32))),
            ("govern", lambda: ListInstrument(terms)),
            ("govern", lambda: SetParameter(name, chance.choice((least, most, edge)))),
            ("govern", lambda: AddSender(f"new {unique % 3}", key_of(f"n{unique}").public_key, 16)),
            ("govern", lambda: RotateKey(IDS["spare"], chance.choice((b"", b"short", bytes(32))))),
            ("govern", lambda: SetReplicas(())),
            ("govern", lambda: ActivateRules(chance.choice((0, 1, 2, 99)))),
            ("operate", lambda: self._halt(at_ns, edge)),
            (
                "effects",
                lambda: ReportEffect(chance.choice((1, 9, edge)), 0, chance.choice((1, 3))),
            ),
        )
        sender, make = chance.choice(makers)
        return sender, make()

    def _deposits(self, account: int, edge: int) -> RecordDeposits:
        chance = self._chance
        amount = max(min(edge, INT64_MAX), INT64_MIN)
        number = chance.choice((0, -1, 1, 400, INT64_MAX))
        cut = chance.choice((b"", b"\x01"))
        return RecordDeposits(
            2, number, pack_int64([account]), pack_int32([USD]) + cut, pack_int64([amount])
        )

    def _trades(self, buyer: int, seller: int, edge: int) -> RecordTrades:
        chance = self._chance
        return RecordTrades(
            chance.choice((1, 3, 0, 7)),
            chance.choice((0, 1, 500, INT64_MIN)),
            pack_int64([buyer]),
            pack_int64([seller]),
            pack_int32([chance.choice((LINEAR, 0, 77))]),
            pack_int64([edge]),
            pack_int64([chance.choice((1, 50_000, 0, -3))]),
            b"\x00" * chance.choice((1, 1, 2)),
        )

    def _prices(self, at_ns: int, edge: int) -> PublishPrices:
        chance = self._chance
        observed_ns = chance.choice((at_ns - 20 * NS_PER_MINUTE, at_ns + 60 * NS_PER_MINUTE, -1))
        return PublishPrices(
            observed_ns, pack_int32([chance.choice((1, 5, 9))]), pack_int64([edge])
        )

    def _risk(self, at_ns: int, edge: int) -> PublishRisk:
        """Propose poisoned rows: astronomical losses, or columns that do not fit."""
        chance = self._chance
        cell = chance.choice((0, 2**31 - 1, -(2**31)))
        return PublishRisk(
            unit_id=chance.choice((1, 2, 3)),
            row_count=chance.choice((1, 2, 9)),
            scale=chance.choice((1, edge)),
            expires_at_ns=at_ns + chance.choice((-1, 1, 10)) * NS_PER_MINUTE,
            instruments=pack_int32([LINEAR]),
            rows=pack_int32([cell]),
            values=pack_int64([chance.choice((0, edge))]),
        )

    def _halt(self, at_ns: int, edge: int) -> SetHalt:
        chance = self._chance
        until_ns = chance.choice((0, edge, at_ns + 2 * NS_PER_MINUTE, at_ns + NS_PER_MINUTE // 2))
        return SetHalt(chance.choice((0, 1, 2, 3, 9)), until_ns)
