/* C twin of clearing/kernels/fills.py: the same checks in the same order on the same tables.
   It exists to say how far the compiled kernel is from what a C compiler makes of the rule. */
#include <stdbool.h>
#include <stdint.h>

typedef int64_t i64;

enum { ROW = 64, EXT = 48, SLOTS_COUNT = 16, OWN_ROW = -1, NOT_FOUND = -1, FAR = 12, NEAR = 6 };
enum { ID = 0, LIFE = 1, COUNT = 3, EXTENSION = 4, TOUCHED = 5, BALANCE = 16, IDS = 24, SLOTS = 32 };
enum { NEXT = 0, EXT_IDS = 8, EXT_SLOTS = 16, EXTENSION_FREE = 5 };
enum {
    KIND = 0, ASSET = 1, STYLE = 2, STATUS = 3, VALUE_PER_TICK = 4, INVERSE_NUMERATOR = 5,
    VALUE_SCALE = 6, LOTS_MAX = 7, PRICE_MIN = 8, PRICE_MAX = 9, MAKER_FEE = 10, TAKER_FEE = 11,
    FEE_NOTIONAL = 12, OPEN_INTEREST = 13, VARIATION = 14, RESIDUAL = 15, OPEN_COST = 16,
    TOUCHED_INSTRUMENT = 49
};
enum {
    ACCOUNT_UNKNOWN = 303, INSTRUMENT_UNKNOWN = 305, LOTS_RANGE = 308, PRICE_RANGE = 309,
    SIDES_SAME = 314, INSTRUMENT_CLOSED = 401, LOTS_LIMIT = 408, AMOUNT_OVERFLOW = 409,
    POSITIONS_FULL = 503
};
static const i64 PPB = 1000000000, AMOUNT_MAX = ((i64)1 << 62) - 1;

struct book {
    i64 *accounts, accounts_max;
    i64 *extensions;
    i64 *instruments, instruments_max;
    i64 *meta;
    int32_t *touched;
    i64 *touched_count;
};
struct fills {
    const i64 *buyers, *sellers;
    const int32_t *instruments;
    const i64 *lots, *prices;
    const uint8_t *flags;
    i64 count;
};
struct place { i64 pool, slot, lots, cost; };
struct side { i64 lots, cost, realised, minor, fee, balance; bool fits; };

static inline bool is_amount(i64 v) { return v >= -AMOUNT_MAX && v <= AMOUNT_MAX; }
static inline i64 least(i64 a, i64 b) { return a < b ? a : b; }
static inline i64 positive(i64 a) { return a > 0 ? a : 0; }
static inline i64 magnitude(i64 a) { return a < 0 ? -a : a; }

static inline i64 floor_div(i64 a, i64 b) {
    i64 q = a / b;
    return q - (a % b != 0 && (a % b < 0) != (b < 0));
}

static inline bool mul_div_ceil(i64 a, i64 b, i64 c, i64 *out) {
    i64 narrow;
    if (c == 0) return false;
    if (!__builtin_mul_overflow(a, b, &narrow) && narrow != INT64_MIN) {
        *out = -floor_div(-narrow, c);
        return true;
    }
    __int128 product = (__int128)a * b, q = product / c, r = product % c;
    q += r != 0 && (r < 0) == (c < 0);
    *out = (i64)q;
    return q >= INT64_MIN && q <= INT64_MAX;
}

static inline i64 slot_of(const i64 *row, i64 word, int32_t instrument) {
    const int32_t *ids = (const int32_t *)(row + word);
    i64 found = NOT_FOUND;
    for (i64 slot = 0; slot < SLOTS_COUNT; slot++)
        if (ids[slot] == instrument) found = slot;
    return found;
}

static inline i64 row_of(const struct book *book, i64 account) {
    i64 row = account & 0xffffffff;
    if (account <= 0 || row >= book->accounts_max) return -1;
    const i64 *words = book->accounts + row * ROW;
    return words[ID] == account && words[LIFE] == 1 ? row : -1;
}

static inline struct place locate(const struct book *book, i64 row, int32_t instrument) {
    const i64 *words = book->accounts + row * ROW;
    i64 slot = slot_of(words, IDS, instrument);
    if (slot != NOT_FOUND)
        return (struct place){OWN_ROW, slot, words[SLOTS + 2 * slot], words[SLOTS + 2 * slot + 1]};
    for (i64 link = words[EXTENSION]; link != 0;) {
        const i64 *more = book->extensions + (link - 1) * EXT;
        slot = slot_of(more, EXT_IDS, instrument);
        if (slot != NOT_FOUND)
            return (struct place){
                link - 1, slot, more[EXT_SLOTS + 2 * slot], more[EXT_SLOTS + 2 * slot + 1]};
        link = more[NEXT];
    }
    return (struct place){OWN_ROW, NOT_FOUND, 0, 0};
}

static inline bool needs_extension(const struct book *book, i64 row, const struct place *place) {
    i64 count = book->accounts[row * ROW + COUNT];
    return place->slot == NOT_FOUND && count >= SLOTS_COUNT && count % SLOTS_COUNT == 0;
}

static void write_slot(
    struct book *book, i64 row, i64 pool, i64 slot, int32_t instrument, i64 lots, i64 cost) {
    i64 *words = pool == OWN_ROW ? book->accounts + row * ROW : book->extensions + pool * EXT;
    i64 *pair = words + (pool == OWN_ROW ? SLOTS : EXT_SLOTS) + 2 * slot;
    ((int32_t *)(words + (pool == OWN_ROW ? IDS : EXT_IDS)))[slot] = instrument;
    pair[0] = lots;
    pair[1] = cost;
}

static void tail_of(struct book *book, i64 row, i64 *last, i64 *before) {
    *last = *before = OWN_ROW;
    for (i64 link = book->accounts[row * ROW + EXTENSION]; link != 0;) {
        *before = *last;
        *last = link - 1;
        link = book->extensions[*last * EXT + NEXT];
    }
}

static void append(struct book *book, i64 row, int32_t instrument, i64 lots, i64 cost) {
    i64 *words = book->accounts + row * ROW, count = words[COUNT]++, pool = OWN_ROW, before;
    if (count >= SLOTS_COUNT) {
        tail_of(book, row, &pool, &before);
        if (count % SLOTS_COUNT == 0) {
            i64 link = book->meta[EXTENSION_FREE], *taken = book->extensions + (link - 1) * EXT;
            book->meta[EXTENSION_FREE] = taken[NEXT];
            taken[NEXT] = 0;
            if (pool == OWN_ROW)
                words[EXTENSION] = link;
            else
                book->extensions[pool * EXT + NEXT] = link;
            pool = link - 1;
        }
    }
    write_slot(book, row, pool, count % SLOTS_COUNT, instrument, lots, cost);
}

static void remove_position(struct book *book, i64 row, const struct place *place) {
    i64 *words = book->accounts + row * ROW, last = --words[COUNT], slot = last % SLOTS_COUNT;
    i64 tail = OWN_ROW, before = OWN_ROW, *from = words + IDS, *pair = words + SLOTS + 2 * slot;
    if (last >= SLOTS_COUNT) {
        tail_of(book, row, &tail, &before);
        from = book->extensions + tail * EXT + EXT_IDS;
        pair = book->extensions + tail * EXT + EXT_SLOTS + 2 * slot;
    }
    write_slot(book, row, place->pool, place->slot, ((int32_t *)from)[slot], pair[0], pair[1]);
    write_slot(book, row, tail, slot, 0, 0, 0);
    if (tail != OWN_ROW && slot == 0) {
        if (before == OWN_ROW)
            words[EXTENSION] = 0;
        else
            book->extensions[before * EXT + NEXT] = 0;
        book->extensions[tail * EXT + NEXT] = book->meta[EXTENSION_FREE];
        book->meta[EXTENSION_FREE] = tail + 1;
    }
}

static inline void write_position(
    struct book *book, i64 row, const struct place *place, int32_t instrument,
    const struct side *side) {
    if (place->slot == NOT_FOUND) {
        append(book, row, instrument, side->lots, side->cost);
    } else if (side->lots == 0) {
        remove_position(book, row, place);
    } else {
        i64 *pair = place->pool == OWN_ROW ? book->accounts + row * ROW + SLOTS
                                           : book->extensions + place->pool * EXT + EXT_SLOTS;
        pair[2 * place->slot] = side->lots;
        pair[2 * place->slot + 1] = side->cost;
    }
}

static inline void touch(struct book *book, i64 row, i64 seq) {
    i64 *word = book->accounts + row * ROW + TOUCHED;
    if (*word != seq) {
        *word = seq;
        book->touched[book->touched_count[0]++] = (int32_t)row;
    }
}

static inline struct side compute_side(
    const i64 *terms, const struct place *place, i64 quantity, i64 value, i64 base, i64 rate,
    i64 divisor, i64 balance) {
    struct side side = {place->lots + quantity, 0, 0, 0, 0, 0, true};
    if (terms[STYLE] != 0) {
        side.realised = -quantity * value;
    } else if (place->lots == 0 || (place->lots > 0) == (quantity > 0)) {
        side.cost = place->cost + quantity * value;
    } else {
        i64 held = magnitude(place->lots), closed = least(magnitude(quantity), held), released = 0;
        mul_div_ceil(place->cost, closed, held, &released);
        i64 closing = quantity > 0 ? closed : -closed;
        side.cost = place->cost - released + (quantity - closing) * value;
        side.realised = -(closing * value + released);
    }
    side.minor = floor_div(side.realised, terms[VALUE_SCALE]);
    side.fits = mul_div_ceil(base, rate, divisor, &side.fee) && is_amount(side.fee);
    side.fits = side.fits && !__builtin_add_overflow(balance, side.minor - side.fee, &side.balance);
    side.fits = side.fits && is_amount(side.balance) && is_amount(side.realised);
    side.fits = side.fits && is_amount(side.cost);
    return side;
}

#define REFUSE(code, at) do { *field = (at); return (code); } while (0)

static inline i64 post_fill(
    const struct fills *fills, i64 i, struct book *book, i64 seq, i64 fee_row, i64 *result,
    i64 *field) {
    const int32_t instrument = fills->instruments[i];
    const i64 lots = fills->lots[i], price = fills->prices[i];
    const i64 rows[2] = {row_of(book, fills->buyers[i]), row_of(book, fills->sellers[i])};
    if (rows[0] < 0) REFUSE(ACCOUNT_UNKNOWN, 1);
    if (rows[1] < 0) REFUSE(ACCOUNT_UNKNOWN, 2);
    if (instrument <= 0 || instrument >= book->instruments_max) REFUSE(INSTRUMENT_UNKNOWN, 3);
    i64 *terms = book->instruments + (i64)instrument * ROW;
    if (terms[KIND] == 0) REFUSE(INSTRUMENT_UNKNOWN, 3);
    if (lots <= 0 || lots > terms[LOTS_MAX]) REFUSE(LOTS_RANGE, 4);
    if (price <= 0 || price < terms[PRICE_MIN] || price > terms[PRICE_MAX]) REFUSE(PRICE_RANGE, 5);
    if (rows[0] == rows[1]) REFUSE(SIDES_SAME, 2);
    if (terms[STATUS] != 1) REFUSE(INSTRUMENT_CLOSED, 3);
    struct place places[2] = {locate(book, rows[0], instrument), locate(book, rows[1], instrument)};
    if (places[0].lots > terms[LOTS_MAX] - lots) REFUSE(LOTS_LIMIT, 1);
    if (places[1].lots < lots - terms[LOTS_MAX]) REFUSE(LOTS_LIMIT, 2);

    i64 value = 0, gross, base, divisor;
    bool fits = true;
    if (terms[KIND] & 1)
        fits = !__builtin_mul_overflow(price, terms[VALUE_PER_TICK], &value);
    else
        value = -floor_div(terms[INVERSE_NUMERATOR], price);
    fits = !__builtin_mul_overflow(lots, value, &gross) && fits && is_amount(gross);
    base = magnitude(gross);
    if (terms[FEE_NOTIONAL] != 0)
        fits = !__builtin_mul_overflow(lots, terms[FEE_NOTIONAL], &base) && fits;
    fits = !__builtin_mul_overflow(PPB, terms[VALUE_SCALE], &divisor) && fits && is_amount(base);
    if (!fits) REFUSE(AMOUNT_OVERFLOW, 5);

    const bool takes = fills->flags[i] & 1;
    const i64 cash = BALANCE + terms[ASSET];
    i64 *balances[2] = {book->accounts + rows[0] * ROW + cash, book->accounts + rows[1] * ROW + cash};
    struct side sides[2] = {
        compute_side(terms, &places[0], lots, value, base, terms[takes ? TAKER_FEE : MAKER_FEE],
                     divisor, *balances[0]),
        compute_side(terms, &places[1], -lots, value, base, terms[takes ? MAKER_FEE : TAKER_FEE],
                     divisor, *balances[1])};
    if (!sides[0].fits) REFUSE(AMOUNT_OVERFLOW, 1);
    if (!sides[1].fits) REFUSE(AMOUNT_OVERFLOW, 2);

    i64 *fees = book->accounts + fee_row * ROW + cash, credited = *fees;
    if (fee_row == rows[0]) credited = sides[0].balance;
    if (fee_row == rows[1]) credited = sides[1].balance;
    const i64 minor = sides[0].minor + sides[1].minor, charged = sides[0].fee + sides[1].fee;
    const i64 realised = sides[0].realised + sides[1].realised;
    const i64 longs = positive(sides[0].lots) - positive(places[0].lots) + positive(sides[1].lots) -
                      positive(places[1].lots);
    const i64 cost = (sides[0].cost + sides[1].cost) - (places[0].cost + places[1].cost);
    i64 open_interest, variation, residual, open_cost;
    fits = !__builtin_add_overflow(terms[OPEN_INTEREST], longs, &open_interest);
    fits &= !__builtin_sub_overflow(terms[VARIATION], minor, &variation);
    fits &= !__builtin_add_overflow(
        terms[RESIDUAL], (i64)((uint64_t)realised - (uint64_t)minor * (uint64_t)terms[VALUE_SCALE]),
        &residual);
    fits &= !__builtin_sub_overflow(terms[OPEN_COST], cost, &open_cost);
    fits &= !__builtin_add_overflow(credited, charged, &credited);
    if (!fits || !is_amount(open_interest) || !is_amount(variation) || !is_amount(residual) ||
        !is_amount(open_cost) || !is_amount(credited))
        REFUSE(AMOUNT_OVERFLOW, 4);
    const bool needs[2] = {
        needs_extension(book, rows[0], &places[0]), needs_extension(book, rows[1], &places[1])};
    if (needs[0] || needs[1]) {
        i64 free = book->meta[EXTENSION_FREE];
        if (free == 0 || (needs[0] && needs[1] && book->extensions[(free - 1) * EXT + NEXT] == 0))
            REFUSE(POSITIONS_FULL, needs[0] ? 1 : 2);
    }

    for (int n = 0; n < 2; n++) write_position(book, rows[n], &places[n], instrument, &sides[n]);
    for (int n = 0; n < 2; n++) *balances[n] = sides[n].balance;
    for (int n = 0; n < 2; n++) touch(book, rows[n], seq);
    if (charged != 0) {
        *fees = credited;
        touch(book, fee_row, seq);
    }
    terms[OPEN_INTEREST] = open_interest;
    terms[VARIATION] = variation;
    terms[RESIDUAL] = residual;
    terms[OPEN_COST] = open_cost;
    terms[TOUCHED_INSTRUMENT] = seq;
    result[1] = sides[0].minor;
    result[2] = sides[1].minor;
    result[3] = sides[0].fee;
    result[4] = sides[1].fee;
    return 0;
}

/* Inlined by force: a function that only prefetches counts as pure for gcc, which drops the call. */
__attribute__((always_inline)) static inline void ask_ahead(const struct fills *fills, i64 i, const struct book *book) {
    if (i + FAR < fills->count) {
        const i64 pair[2] = {fills->buyers[i + FAR], fills->sellers[i + FAR]};
        for (int n = 0; n < 2; n++) {
            i64 row = pair[n] & 0xffffffff;
            if (row >= book->accounts_max) continue;
            const i64 *words = book->accounts + row * ROW;
            __builtin_prefetch(words + ID, 1, 3);
            __builtin_prefetch(words + BALANCE, 1, 3);
            __builtin_prefetch(words + IDS, 1, 3);
        }
    }
    if (i + NEAR < fills->count) {
        const i64 pair[2] = {fills->buyers[i + NEAR], fills->sellers[i + NEAR]};
        for (int n = 0; n < 2; n++) {
            i64 row = pair[n] & 0xffffffff;
            if (row >= book->accounts_max) continue;
            const i64 *words = book->accounts + row * ROW;
            i64 slot = slot_of(words, IDS, fills->instruments[i + NEAR]);
            if (slot != NOT_FOUND) __builtin_prefetch(words + SLOTS + 2 * slot, 1, 3);
        }
    }
}

void post_fills(
    const struct fills *fills, struct book *book, i64 seq, i64 fee_row, i64 *results) {
    for (i64 i = 0; i < fills->count; i++) {
        ask_ahead(fills, i, book);
        i64 field = 0, *result = results + 5 * i, code;
        code = post_fill(fills, i, book, seq, fee_row, result, &field);
        result[0] = code;
        if (code != 0) {
            result[1] = field;
            result[2] = result[3] = result[4] = 0;
        }
    }
}
