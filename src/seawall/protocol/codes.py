"""Reject codes: numbered, append-only; of a field's faults the lowest number is answered."""

from enum import IntEnum


class Reject(IntEnum):
    """Why a command, a fill or a whole entry was refused; a refusal leaves no other trace."""

    # 1xx: the entry as a whole.
    MALFORMED = 101
    """The bytes are no canonical message of this format."""
    VERSION_FUTURE = 102
    """The format is newer than this build understands."""
    LOG_WRONG = 103
    """The batch names another log."""
    SENDER_UNKNOWN = 104
    """No such sender, or its key was revoked."""
    SIGNATURE_BAD = 105
    """The signature was not made by the sender's key over this body."""
    NUMBER_OLD = 106
    """The number is older than the outcomes that are kept for repeats."""
    NUMBER_REUSED = 107
    """The number was used with another body."""
    NUMBER_GAP = 108
    """The number does not follow the sender's last one."""
    GENESIS_MISPLACED = 109
    """Genesis is entry 1 and nothing else is."""
    COMMANDS_EMPTY = 110
    """A batch holds at least one command."""
    COMMANDS_MANY = 111
    """A batch holds more commands than one entry may."""

    # 2xx: authority.
    ROLE_MISSING = 201
    """The sender's roles do not allow this command."""
    OWNER_WRONG = 202
    """The account belongs to another sender."""
    SENDERS_SAME = 203
    """A second, distinct sender must say this."""

    # 3xx: what the fields say.
    COLUMN_LENGTH = 301
    """A column is no whole number of cells, or the columns differ in length."""
    COLUMN_LONG = 302
    """A column is longer than the limit."""
    ACCOUNT_UNKNOWN = 303
    """No open account has this id."""
    ASSET_UNKNOWN = 304
    """No such asset."""
    INSTRUMENT_UNKNOWN = 305
    """No such instrument."""
    FEED_UNKNOWN = 306
    """No such feed."""
    AMOUNT_RANGE = 307
    """The amount is zero, negative or beyond the bound."""
    LOTS_RANGE = 308
    """The lots are zero, of the wrong sign or beyond the bound."""
    PRICE_RANGE = 309
    """The price is zero, negative or beyond the instrument's bounds."""
    TERMS_RANGE = 310
    """A term is out of range or contradicts another one."""
    PARAMETER_UNKNOWN = 311
    """No such parameter."""
    TIME_RANGE = 312
    """The time lies before what is known or too far ahead."""
    MODE_WRONG = 313
    """The margin mode does not exist or does not allow this."""
    SIDES_SAME = 314
    """Both sides of the fill are the same account."""
    SCALE_WRONG = 315
    """The scale, exponent or number of rows is not the risk unit's."""
    NAME_TAKEN = 316
    """The name or id is taken."""
    KIND_WRONG = 317
    """The kind of account or instrument does not allow this."""

    # 4xx: what the books say.
    INSTRUMENT_CLOSED = 401
    """The instrument does not trade now."""
    BALANCE_SHORT = 402
    """The balance does not cover the amount."""
    MARGIN_SHORT = 403
    """Equity would fall below the initial requirement."""
    MARK_DOUBTFUL = 404
    """A mark or price that this depends on is not fresh."""
    HALTED = 405
    """A halt forbids this now."""
    ACCOUNT_LOCKED = 406
    """The account is being liquidated or is in default."""
    ACCOUNT_BUSY = 407
    """The account still holds balances, positions or sub-accounts."""
    LOTS_LIMIT = 408
    """The position would exceed the instrument's lots limit."""
    AMOUNT_OVERFLOW = 409
    """A balance or cost would leave its bound."""
    REPORT_OLD = 410
    """The report number was already booked."""
    REPORT_GAP = 411
    """The report number is too far ahead of the last one booked."""
    EFFECT_UNKNOWN = 413
    """No pending effect has this key."""
    RISK_UNKNOWN = 414
    """No proposed risk array has this digest."""
    RISK_EXPIRED = 415
    """The risk array's expiry has passed."""
    RULES_OLD = 416
    """The rules version is not above the active one."""
    WITHDRAWALS_LOCKED = 417
    """Withdrawals are locked, for the account or for all."""
    MOVEMENT_WRONG = 418
    """Money may not move between these two accounts."""

    # 5xx: limits of this house.
    ACCOUNTS_FULL = 501
    """All account rows are taken."""
    INSTRUMENTS_FULL = 502
    """All instrument rows are taken."""
    POSITIONS_FULL = 503
    """The account's positions, or the extension pool, are exhausted."""
    OUTBOX_FULL = 504
    """Too many effects are pending."""
    REPORTS_FULL = 505
    """Too many reports wait for their second reporter."""
    SENDERS_FULL = 506
    """All sender rows are taken."""

    # 6xx: the gateway's own answers; they never enter the log.
    BACKLOG = 601
    """Intake waits: the log's head is too far ahead of what is released."""
    LOG_DOWN = 602
    """The log does not take entries now; the command is certainly not in it."""
    UNKNOWN_OUTCOME = 603
    """The log did not answer; the same batch number must be asked again."""
    RULES_FUTURE = 604
    """This build does not know the rules version."""
    BATCH_LARGE = 605
    """The batch exceeds the size of one message."""
