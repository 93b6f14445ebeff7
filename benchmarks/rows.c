/* C twin of clearing/kernels/rows.py: sums of eight scenarios a vector, four vectors a pass.
   By hand for AVX-512, since gcc finds no good code for the rest by itself; else plain. */
#include <stdint.h>
#if defined(__AVX512F__) && defined(__AVX512DQ__)
#include <immintrin.h>
#define BY_HAND 1
#endif

typedef int64_t i64;
typedef i64 sums8 __attribute__((vector_size(64)));
typedef int32_t risks8 __attribute__((vector_size(32), aligned(4)));
#define INLINE __attribute__((always_inline)) static inline

INLINE sums8 widen(const int32_t *risk) {
#ifdef BY_HAND
    return (sums8)_mm512_cvtepi32_epi64(_mm256_loadu_si256((const __m256i *)risk));
#else
    return __builtin_convertvector(*(const risks8 *)risk, sums8);
#endif
}

INLINE sums8 product_64(const int32_t *risk, i64 lots) { return widen(risk) * lots; }

INLINE sums8 product_32(const int32_t *risk, i64 lots) {
#ifdef BY_HAND
    return (sums8)_mm512_mul_epi32((__m512i)widen(risk), _mm512_set1_epi64(lots));
#else
    return widen(risk) * lots;
#endif
}

INLINE sums8 lower(sums8 a, sums8 b) {
#ifdef BY_HAND
    return (sums8)_mm512_min_epi64((__m512i)a, (__m512i)b);
#else
    const sums8 less = b < a;
    return (b & less) | (a & ~less);
#endif
}

INLINE i64 least_of(sums8 sums) {
#ifdef BY_HAND
    return _mm512_reduce_min_epi64((__m512i)sums);
#else
    i64 least = sums[0];
    for (int s = 1; s < 8; s++) least = sums[s] < least ? sums[s] : least;
    return least;
#endif
}

INLINE uint64_t lanes_equal(sums8 sums, i64 value) {
#ifdef BY_HAND
    return _mm512_cmpeq_epi64_mask((__m512i)sums, _mm512_set1_epi64(value));
#else
    uint64_t lanes = 0;
    for (int s = 0; s < 8; s++) lanes |= (uint64_t)(sums[s] == value) << s;
    return lanes;
#endif
}

#define TILE(TILES, BITS, LOTS)                                                              \
    INLINE void tile_##BITS##_##TILES(                                                       \
        const int32_t *risk, i64 scenarios, const int32_t *instrument, const LOTS *lots,     \
        i64 begin, i64 end, i64 first, i64 *worst, i64 *binding) {                           \
        sums8 sums[TILES] = {0};                                                             \
        for (i64 p = begin; p < end; p++) {                                                  \
            const int32_t *row = risk + instrument[p] * scenarios + first;                   \
            for (int t = 0; t < TILES; t++) sums[t] += product_##BITS(row + 8 * t, lots[p]); \
        }                                                                                    \
        sums8 low = sums[0];                                                                 \
        for (int t = 1; t < TILES; t++) low = lower(low, sums[t]);                           \
        const i64 least = least_of(low);                                                     \
        if (least >= *worst) return;                                                         \
        uint64_t lanes = 0;                                                                  \
        for (int t = 0; t < TILES; t++) lanes |= lanes_equal(sums[t], least) << 8 * t;       \
        *worst = least;                                                                      \
        *binding = first + __builtin_ctzll(lanes);                                           \
    }

#define KERNEL(BITS, LOTS)                                                                   \
    TILE(1, BITS, LOTS)                                                                      \
    TILE(2, BITS, LOTS)                                                                      \
    TILE(4, BITS, LOTS)                                                                      \
    void worst_rows_##BITS(                                                                  \
        const i64 *starts, const int32_t *instrument, const LOTS *lots, const int32_t *risk, \
        i64 scenarios, i64 accounts, i64 *loss, int32_t *scenario) {                         \
        for (i64 a = 0; a < accounts; a++) {                                                 \
            i64 worst = INT64_MAX, binding = 0, first = 0;                                   \
            const i64 from = starts[a], to = starts[a + 1];                                  \
            for (; scenarios - first >= 32; first += 32)                                     \
                tile_##BITS##_4(                                                             \
                    risk, scenarios, instrument, lots, from, to, first, &worst, &binding);   \
            for (; scenarios - first >= 16; first += 16)                                     \
                tile_##BITS##_2(                                                             \
                    risk, scenarios, instrument, lots, from, to, first, &worst, &binding);   \
            for (; scenarios - first >= 8; first += 8)                                       \
                tile_##BITS##_1(                                                             \
                    risk, scenarios, instrument, lots, from, to, first, &worst, &binding);   \
            loss[a] = worst < 0 ? -worst : 0;                                                \
            scenario[a] = (int32_t)binding;                                                  \
        }                                                                                    \
    }

KERNEL(32, int32_t)
KERNEL(64, i64)
