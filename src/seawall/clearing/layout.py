"""Where everything stands: word numbers of the int64 rows that hold the state.

Rows group what one command touches together; a word is named once, here, for kernels and for
plain Python alike. Zero means empty, absent or the first of an enumeration everywhere.
"""

# Account row: 64 words of 8 bytes. A fill touches words 0-7, one balance and one slot.
ACCOUNT_WIDTH = 64
ID = 0
LIFE = 1
MODE = 2
POSITION_COUNT = 3
EXTENSION = 4
"""Index + 1 of the first extension row."""
TOUCHED = 5
"""Seq of the last entry that changed the row. Kernels append a row to the touched list when this
differs from the seq they are given, and set it."""
OWNER = 6
PARENT = 7
"""Row of the parent of an isolated sub-account, else 0."""
STATE = 8
EQUITY = 9
MAINTENANCE = 10
INITIAL = 11
EVALUATED = 12
"""Seq of the entry that computed the three above."""
CALL_DEADLINE = 13
CASE = 14
"""Index + 1 of the open liquidation case."""
MEMBER = 15
BALANCE = 16
"""Words 16-23: balance per asset, minor units."""
ASSETS_MAX = 8
SLOT_IDS = 24
"""Words 24-31 hold 16 int32 instrument ids; in the int32 view they start at SLOT_IDS * 2."""
SLOTS = 32
"""Words 32-63: 16 times (lots, entry cost in value units)."""
SLOTS_COUNT = 16

LIFE_VACANT, LIFE_OPEN, LIFE_CLOSED = 0, 1, 2

# Extension row: 16 more slots.
EXTENSION_WIDTH = 48
NEXT = 0
"""Index + 1 of the next extension row (of the account, or of the free list)."""
EXTENSION_SLOT_IDS = 8
EXTENSION_SLOTS = 16

STATUS_TRADING, STATUS_SETTLED, STATUS_WAITING = 1, 2, 3

# Instrument row.
INSTRUMENT_WIDTH = 64
KIND = 0
ASSET = 1
STYLE = 2
STATUS = 3
"""0 unlisted, 1 trading, 2 settled, 3 expired and waiting for a final price."""
VALUE_PER_TICK = 4
INVERSE_NUMERATOR = 5
VALUE_SCALE = 6
LOTS_MAX = 7
PRICE_MIN = 8
PRICE_MAX = 9
MAKER_FEE_PPB = 10
TAKER_FEE_PPB = 11
FEE_NOTIONAL = 12
"""Options: notional of one lot at the index, value units, set with the marks; 0: use |value|."""
OPEN_INTEREST = 13
"""Sum of long lots."""
VARIATION = 14
"""Balance of the house's variation account, minor units of the settlement asset."""
RESIDUAL = 15
"""Rounding residue of realised profit, value units, >= 0; swept to the rounding account."""
OPEN_COST = 16
"""Minus the sum of the accounts' entry costs: the house's own side."""
MARK_TICKS = 17
MARK_VALUE = 18
"""Value of one lot at the mark, value units, signed."""
MARK_NOTIONAL = 19
"""Notional of one lot at the mark, value units, >= 0."""
MARK_GRADE = 20
INDEX_FEED = 21
PRICE_FEED = 22
BASIS = 23
"""Smoothed basis, ticks."""
BASIS_MAX_PPB = 24
BASIS_WEIGHT_PPB = 25
FUNDING_INTERVAL = 26
FUNDING_MAX_PPB = 27
FUNDING_INTEREST_PPB = 28
FUNDING_NEXT = 29
"""Time of the next payment, ns."""
FUNDING_SUM_PPB = 30
FUNDING_SAMPLES = 31
FUNDING_LAST_SAMPLE = 32
"""Time of the last sample, ns."""
EXPIRY = 33
SETTLEMENT_WINDOW = 34
SETTLEMENT_SUM = 35
SETTLEMENT_SAMPLES = 36
STRIKE_TICKS = 37
IS_CALL = 38
SHORT_RATE_PPB = 39
SHORT_FLOOR_PPB = 40
RISK_UNIT = 41
ORDER_BAND_PPB = 42
SLICE_PPB = 43
INITIAL_FACTOR_PPB = 44
TIER_COUNT = 45
HALT_UNTIL = 46
OPTION_VALUE = 47
"""Attested value of one lot, value units."""
RISK_ROWS_KNOWN = 48
"""1 when the risk unit's active arrays carry this instrument."""
TOUCHED_INSTRUMENT = 49
UNDERLYING_VALUE = 50
"""Options: value units of one lot of the underlying at the index; else 0."""

# Tier: [instrument, tier, word].
TIERS_MAX = 8
TIER_WIDTH = 3
TIER_FLOOR = 0
TIER_RATE = 1
TIER_DEDUCTION = 2

# Asset row.
ASSET_WIDTH = 16
ASSET_LISTED = 0
UNIT = 1
"""Minor units of one whole unit: 10 ** decimals."""
HAIRCUT_PPB = 2
LIABILITY_HAIRCUT_PPB = 3
ASSET_FEED = 4
ASSET_VALUE_PER_TICK = 5
PRICE = 6
"""Valuation minor units of one whole unit; the valuation asset's own is its UNIT."""
PRICE_GRADE = 7

# Feed row: the index of one price series.
FEED_WIDTH = 16
FEED_USED = 0
INDEX = 1
FEED_GRADE = 2
FRESH_AT = 3
"""Machine time when the grade was last FRESH."""
DOUBT_SINCE = 4
"""Machine time when the present doubt began, 0 when there is none."""
PREVIOUS_INDEX = 5

# Source price: [source, feed, word].
SOURCE_WIDTH = 3
SOURCE_VALUE = 0
SOURCE_OBSERVED = 1
SOURCE_DEVIATES = 2

# Risk unit row.
UNIT_WIDTH = 16
UNIT_ROWS = 0
UNIT_SCALE = 1
UNIT_EXPIRES = 2
UNIT_STATUS = 3
"""0 none, 1 active, 2 lapsed."""

# Liquidation case row.
CASE_WIDTH = 16
CASE_ACCOUNT_ROW = 0
CASE_STARTED = 1
CASE_DEADLINE = 2
CASE_ORDER_SEQ = 3
CASE_ORDER_INDEX = 4
CASE_ORDER_PENDING = 5
CASE_KIND = 6
"""1 a client in distress, 2 the insurance fund disposing of what it took over."""
CASE_ORDERS = 7
CASE_OVERDUE = 8
"""1 when it started because a call was overdue: it ends at initial, not above maintenance."""

# Scalars of the house.
META_WIDTH = 64
SEQ = 0
AT_NS = 1
RULES = 2
ROWS_USED = 3
"""Account rows ever used: rows 1 .. ROWS_USED - 1 hold or held accounts."""
INSTRUMENTS_USED = 4
"""Instrument rows 1 .. INSTRUMENTS_USED - 1 are listed."""
EXTENSION_FREE = 5
"""Index + 1 of the first free extension row."""
CASES_OPEN = 6
HALT_ALL_UNTIL = 7
EPOCH = 8
SHORTFALL = 9
"""Totals since genesis, valuation asset: shortfall = the three that follow, exactly."""
FUND_PAID = 10
DELEVERAGED = 11
SOCIALISED = 12
ASSETS_USED = 13
LIQUIDATIONS = 14
MARGIN_CALLS = 15

assert SLOTS + 2 * SLOTS_COUNT == ACCOUNT_WIDTH
assert SLOT_IDS + SLOTS_COUNT // 2 == SLOTS
assert BALANCE + ASSETS_MAX == SLOT_IDS
assert EXTENSION_SLOTS + 2 * SLOTS_COUNT == EXTENSION_WIDTH
