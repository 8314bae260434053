/* Vector instructions, where the compiler says that it may use them: per machine the same few small things for the dense
 * kernel. With -DPORTABLE, and on all other machines, kernels are plain C. All give the same sums. */

#if defined(PORTABLE) || !defined(__GNUC__)

#elif defined(__AVX512F__) && defined(__AVX512VNNI__)

#include <immintrin.h>

/* AVX-512 VNNI: one instruction multiplies four inputs with the four weights of each of sixteen filters. */
enum { VECTOR_FILTERS = 16, VECTORS = 2 };
typedef __m512i vector_sums, vector_inputs, vector_weights;

static inline vector_sums no_sums(void)
{
    return _mm512_setzero_si512();
}

static inline vector_inputs inputs_at(const uint8_t *x)
{
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm512_set1_epi32(four);
}

/* `filters` are left; those that are not there have weights of zero, and are not read. */
static inline vector_weights weights_at(const int8_t *weights, int filters)
{
    return _mm512_maskz_loadu_epi32(filters < 16 ? (__mmask16)((1u << filters) - 1) : 0xFFFF, weights);
}

static inline vector_sums add_vector(vector_sums s, vector_inputs x, vector_weights w)
{
    return _mm512_dpbusd_epi32(s, x, w);
}

static inline void store_sums(vector_sums s, int32_t *sums)
{
    _mm512_storeu_si512(sums, s);
}

#define HAS_VECTORS

#elif defined(__AVX2__)

#include <immintrin.h>

/* AVX2: products of 16 bits, for those of 8 bits saturate; a filter has two sums, of its even and odd pairs. */
enum { VECTOR_FILTERS = 4, VECTORS = 2 };
typedef __m256i vector_sums, vector_inputs, vector_weights;

static inline vector_sums no_sums(void)
{
    return _mm256_setzero_si256();
}

static inline vector_inputs inputs_at(const uint8_t *x)
{
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm256_cvtepu8_epi16(_mm_set1_epi32(four));
}

static inline vector_weights weights_at(const int8_t *weights, int filters)
{
    (void)filters; /* they are filled up to four */
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)weights));
}

static inline vector_sums add_vector(vector_sums s, vector_inputs x, vector_weights w)
{
    return _mm256_add_epi32(s, _mm256_madd_epi16(x, w));
}

static inline void store_sums(vector_sums s, int32_t *sums)
{
    __m128i added = _mm_hadd_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
    _mm_storeu_si128((__m128i *)(void *)sums, added);
}

#define HAS_VECTORS

#elif defined(__ARM_NEON) && defined(__aarch64__)

#include <arm_neon.h>

/* NEON multiplies bytes of one kind: inputs are made int8 again, and the biases are those for int8. */
#define INPUTS_ARE_INT8

typedef int8x16_t vector_inputs, vector_weights;

static inline vector_inputs inputs_at(const uint8_t *x)
{
    uint32_t four;
    memcpy(&four, x, sizeof four);
    return vreinterpretq_s8_u32(vdupq_n_u32(four ^ UINT32_C(0x80808080)));
}

static inline vector_weights weights_at(const int8_t *weights, int filters)
{
    (void)filters; /* they are filled up to four */
    return vld1q_s8(weights);
}

#if defined(__ARM_FEATURE_DOTPROD)

/* Dot product: one instruction multiplies four inputs with the four weights of each of four filters. */
enum { VECTOR_FILTERS = 4, VECTORS = 4 };
typedef int32x4_t vector_sums;

static inline vector_sums no_sums(void)
{
    return vdupq_n_s32(0);
}

static inline vector_sums add_vector(vector_sums s, vector_inputs x, vector_weights w)
{
    return vdotq_s32(s, w, x);
}

static inline void store_sums(vector_sums s, int32_t *sums)
{
    vst1q_s32(sums, s);
}

#else

/* Without it: products of 16 bits, added in pairs; a filter has two sums. */
enum { VECTOR_FILTERS = 4, VECTORS = 2 };
typedef int32x4x2_t vector_sums;

static inline vector_sums no_sums(void)
{
    vector_sums s = {{vdupq_n_s32(0), vdupq_n_s32(0)}};
    return s;
}

static inline vector_sums add_vector(vector_sums s, vector_inputs x, vector_weights w)
{
    s.val[0] = vpadalq_s16(s.val[0], vmull_s8(vget_low_s8(x), vget_low_s8(w)));
    s.val[1] = vpadalq_s16(s.val[1], vmull_high_s8(x, w));
    return s;
}

static inline void store_sums(vector_sums s, int32_t *sums)
{
    vst1q_s32(sums, vpaddq_s32(s.val[0], s.val[1]));
}

#endif

#define HAS_VECTORS

#endif
