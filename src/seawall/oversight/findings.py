"""What the auditor says: where the books and the house disagree, and how much it looked at."""

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """One thing that the house says and the auditor's own books do not bear out."""

    seq: int
    rule: str
    """Id of the rule the auditor applied, as in `docs/rules`."""
    subject: str
    """Which field of which account, instrument, feed, command or event."""
    expected: str
    got: str


class Coverage(msgspec.Struct, frozen=True):
    """How much was looked at, since entry 1."""

    entries: int
    compared: int
    """Single values held against each other."""
    disagreements: int
    """Values that differed; every one made a finding."""
    trusted: int
    """Decisions on which the rules are silent, taken from the house without a second opinion."""
    accounts_compared: int
    accounts_touched: int
    """Accounts that entries touched by the house's own count; more than compared means samples."""
