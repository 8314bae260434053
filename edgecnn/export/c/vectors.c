/* Vector instructions, where the compiler says that it may use them: per machine the same few small things for the
 * kernels. With -DPORTABLE, and on all other machines, kernels are plain C. All give the same numbers.
 *
 * With vectors, kernels are SPECIALIZED: every layer has a copy of its own, in which its sizes are constants. Loops over
 * vectors are UNROLLED, for only then do these stay in registers. */

/* An instruction that is none, on a sum: it stays in its register, where gcc would copy it, or put it on the stack. */
#define STAYS(sum) __asm__("" : "+x"(sum))

#if defined(PORTABLE) || !defined(__GNUC__)

#elif defined(__AVX512F__) && defined(__AVX512VNNI__)

#include <immintrin.h>
#define HAS_VECTORS

enum { LANES = 16 };
typedef __m512i lanes;

static inline lanes lanes_at(const int32_t *numbers)
{
    return _mm512_loadu_si512(numbers);
}

/* The first `count` are read, the others 0. */
#define HAS_PARTS
static inline lanes lanes_of_first(const int32_t *numbers, int count)
{
    return _mm512_maskz_loadu_epi32((__mmask16)((1u << count) - 1), numbers);
}

static inline void store_lanes(lanes x, int32_t *numbers)
{
    _mm512_storeu_si512(numbers, x);
}

static inline lanes lanes_of(int32_t number)
{
    return _mm512_set1_epi32(number);
}

static inline lanes lanes_of_bytes(const int8_t *numbers)
{
    return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)numbers));
}

static inline lanes sum_of(lanes x, lanes y)
{
    return _mm512_add_epi32(x, y);
}

static inline lanes difference_of(lanes x, lanes y)
{
    return _mm512_sub_epi32(x, y);
}

static inline lanes larger_of(lanes x, lanes y)
{
    return _mm512_max_epi32(x, y);
}

static inline lanes smaller_of(lanes x, lanes y)
{
    return _mm512_min_epi32(x, y);
}

static inline lanes larger_of_pairs(lanes x, lanes y)
{
    const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    return _mm512_max_epi32(_mm512_permutex2var_epi32(x, even, y), _mm512_permutex2var_epi32(x, odd, y));
}

static inline lanes multiply_high_lanes(lanes x, lanes fraction)
{
    const __m512i half = _mm512_set1_epi64(1 << 30);
    __m512i even = _mm512_add_epi64(_mm512_mul_epi32(x, fraction), half);
    __m512i odd = _mm512_mul_epi32(_mm512_srli_epi64(x, 32), _mm512_srli_epi64(fraction, 32));
    odd = _mm512_slli_epi64(_mm512_add_epi64(odd, half), 1);
    return _mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 31), odd);
}

static inline lanes shift_left_lanes(lanes x, lanes by)
{
    return _mm512_sllv_epi32(x, by);
}

static inline lanes divide_lanes(lanes x, lanes exponent)
{
    const __m512i one = _mm512_set1_epi32(1);
    __m512i mask = _mm512_sub_epi32(_mm512_sllv_epi32(one, exponent), one);
    __m512i half = _mm512_add_epi32(_mm512_srli_epi32(mask, 1), _mm512_srli_epi32(x, 31));
    __m512i divided = _mm512_srav_epi32(x, exponent);
    return _mm512_mask_add_epi32(divided, _mm512_cmpgt_epi32_mask(_mm512_and_si512(x, mask), half), divided, one);
}

static inline void store_bytes(lanes x, uint8_t *bytes)
{
    _mm_storeu_si128((__m128i *)(void *)bytes, _mm512_cvtepi32_epi8(x));
}

/* AVX-512 VNNI: one instruction multiplies four inputs with the four weights of each of sixteen filters. */
enum { VECTORS = 2, QUADS_AT_ONCE = 1 };
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
    return filters < 16 ? _mm512_maskz_loadu_epi32((__mmask16)((1u << filters) - 1), weights)
                        : _mm512_loadu_si512(weights);
}

static inline vector_sums add_vector(vector_sums s, vector_inputs x, vector_weights w)
{
    return _mm512_dpbusd_epi32(s, x, w);
}

static inline lanes total_of(vector_sums s)
{
    return s;
}

#elif defined(__AVX2__)

#include <immintrin.h>
#define HAS_VECTORS

enum { LANES = 8 };
typedef __m256i lanes;

static inline lanes lanes_at(const int32_t *numbers)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)numbers);
}

#define HAS_PARTS
static inline lanes lanes_of_first(const int32_t *numbers, int count)
{
    __m256i number = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_maskload_epi32(numbers, _mm256_cmpgt_epi32(_mm256_set1_epi32(count), number));
}

static inline void store_lanes(lanes x, int32_t *numbers)
{
    _mm256_storeu_si256((__m256i *)(void *)numbers, x);
}

static inline lanes lanes_of(int32_t number)
{
    return _mm256_set1_epi32(number);
}

static inline lanes lanes_of_bytes(const int8_t *numbers)
{
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)numbers));
}

static inline lanes sum_of(lanes x, lanes y)
{
    return _mm256_add_epi32(x, y);
}

static inline lanes difference_of(lanes x, lanes y)
{
    return _mm256_sub_epi32(x, y);
}

static inline lanes larger_of(lanes x, lanes y)
{
    return _mm256_max_epi32(x, y);
}

static inline lanes smaller_of(lanes x, lanes y)
{
    return _mm256_min_epi32(x, y);
}

/* The larger one of each pair of neighbours in x, then those in y. */
static inline lanes larger_of_pairs(lanes x, lanes y)
{
    __m256 a = _mm256_castsi256_ps(x), b = _mm256_castsi256_ps(y);
    __m256i even = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0x88));
    __m256i odd = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xDD));
    return _mm256_permute4x64_epi64(_mm256_max_epi32(even, odd), 0xD8);
}

/* As `multiply_high`: products of 64 bits, of the even lanes and of the odd ones. */
static inline lanes multiply_high_lanes(lanes x, lanes fraction)
{
    const __m256i half = _mm256_set1_epi64x(1 << 30);
    __m256i even = _mm256_add_epi64(_mm256_mul_epi32(x, fraction), half);
    __m256i odd = _mm256_mul_epi32(_mm256_srli_epi64(x, 32), _mm256_srli_epi64(fraction, 32));
    even = _mm256_srli_epi64(even, 31);
    odd = _mm256_slli_epi64(_mm256_add_epi64(odd, half), 1);
    return _mm256_blend_epi32(even, odd, 0xAA);
}

static inline lanes shift_left_lanes(lanes x, lanes by)
{
    return _mm256_sllv_epi32(x, by);
}

/* As `divide_by_power`. */
static inline lanes divide_lanes(lanes x, lanes exponent)
{
    __m256i mask = _mm256_sub_epi32(_mm256_sllv_epi32(_mm256_set1_epi32(1), exponent), _mm256_set1_epi32(1));
    __m256i half = _mm256_add_epi32(_mm256_srli_epi32(mask, 1), _mm256_srli_epi32(x, 31));
    __m256i is_over = _mm256_cmpgt_epi32(_mm256_and_si256(x, mask), half);
    return _mm256_sub_epi32(_mm256_srav_epi32(x, exponent), is_over);
}

/* Numbers of 0 to 255. */
static inline void store_bytes(lanes x, uint8_t *bytes)
{
    __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    _mm_storel_epi64((__m128i *)(void *)bytes, _mm_packus_epi16(words, words));
}

/* AVX2: one instruction adds products of bytes in pairs, and saturates unless one factor is never negative and they are
 * small: so the signs of the inputs, made int8 again, go to the weights. 2 * 128 * 127 fits, for weights are -127 to 127. */
#define INPUTS_ARE_INT8
enum { VECTORS = 2, QUADS_AT_ONCE = 1 };
typedef __m256i vector_sums, vector_inputs, vector_weights;

static inline vector_sums no_sums(void)
{
    return _mm256_setzero_si256();
}

static inline vector_inputs inputs_at(const uint8_t *x)
{
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm256_xor_si256(_mm256_set1_epi32(four), _mm256_set1_epi8(-128));
}

/* `filters` are left, and filled up to four. */
static inline vector_weights weights_at(const int8_t *weights, int filters)
{
    return filters <= 4 ? _mm256_zextsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)weights))
                        : _mm256_loadu_si256((const __m256i *)(const void *)weights);
}

static inline vector_sums add_vector(vector_sums s, vector_inputs x, vector_weights w)
{
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(w, x));
    s = _mm256_add_epi32(s, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    STAYS(s);
    return s;
}

static inline lanes total_of(vector_sums s)
{
    return s;
}

#elif defined(__ARM_NEON) && defined(__aarch64__)

#include <arm_neon.h>
#define HAS_VECTORS

enum { LANES = 4 };
typedef int32x4_t lanes;

static inline lanes lanes_at(const int32_t *numbers)
{
    return vld1q_s32(numbers);
}

static inline void store_lanes(lanes x, int32_t *numbers)
{
    vst1q_s32(numbers, x);
}

static inline lanes lanes_of(int32_t number)
{
    return vdupq_n_s32(number);
}

static inline lanes lanes_of_bytes(const int8_t *numbers)
{
    int32_t four;
    memcpy(&four, numbers, sizeof four);
    return vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four)))));
}

static inline lanes sum_of(lanes x, lanes y)
{
    return vaddq_s32(x, y);
}

static inline lanes difference_of(lanes x, lanes y)
{
    return vsubq_s32(x, y);
}

static inline lanes larger_of(lanes x, lanes y)
{
    return vmaxq_s32(x, y);
}

static inline lanes smaller_of(lanes x, lanes y)
{
    return vminq_s32(x, y);
}

/* The larger one of each pair of neighbours in x, then those in y. */
static inline lanes larger_of_pairs(lanes x, lanes y)
{
    return vpmaxq_s32(x, y);
}

/* As `multiply_high`. */
static inline lanes multiply_high_lanes(lanes x, lanes fraction)
{
    return vqrdmulhq_s32(x, fraction);
}

static inline lanes shift_left_lanes(lanes x, lanes by)
{
    return vshlq_s32(x, by);
}

/* As `divide_by_power`: what is negative is made less by one first, where there is a shift, for halves go up. */
static inline lanes divide_lanes(lanes x, lanes exponent)
{
    lanes right = vnegq_s32(exponent);
    return vrshlq_s32(vqaddq_s32(x, vshrq_n_s32(vandq_s32(x, right), 31)), right);
}

/* Numbers of 0 to 255. */
static inline void store_bytes(lanes x, uint8_t *bytes)
{
    int16x4_t words = vmovn_s32(x);
    uint32_t four = vget_lane_u32(vreinterpret_u32_s8(vmovn_s16(vcombine_s16(words, words))), 0);
    memcpy(bytes, &four, sizeof four);
}

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
enum { VECTORS = 4, QUADS_AT_ONCE = 1 };
typedef int32x4_t vector_sums;

static inline vector_sums no_sums(void)
{
    return vdupq_n_s32(0);
}

static inline vector_sums add_vector(vector_sums s, vector_inputs x, vector_weights w)
{
    return vdotq_s32(s, w, x);
}

static inline lanes total_of(vector_sums s)
{
    return s;
}

#else

/* Without it: products of 16 bits, added in pairs; a filter has two sums. */
enum { VECTORS = 2, QUADS_AT_ONCE = 2 };
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

#define HAS_ADD_TWO

/* Two products, at most 2 * 128 * 127, are added before they are widened: weights are -127 to 127. */
static inline vector_sums add_two(vector_sums s, vector_inputs x0, vector_weights w0, vector_inputs x1,
                                  vector_weights w1)
{
    int16x8_t low = vmlal_s8(vmull_s8(vget_low_s8(x0), vget_low_s8(w0)), vget_low_s8(x1), vget_low_s8(w1));
    s.val[0] = vpadalq_s16(s.val[0], low);
    s.val[1] = vpadalq_s16(s.val[1], vmlal_high_s8(vmull_high_s8(x0, w0), x1, w1));
    return s;
}

static inline lanes total_of(vector_sums s)
{
    return vpaddq_s32(s.val[0], s.val[1]);
}

#endif

#endif

#if defined(HAS_VECTORS)

#define SPECIALIZED inline __attribute__((always_inline))
#define UNROLLED _Pragma("GCC unroll 8")

#if !defined(HAS_ADD_TWO)
static inline vector_sums add_two(vector_sums s, vector_inputs x0, vector_weights w0, vector_inputs x1,
                                  vector_weights w1)
{
    return add_vector(add_vector(s, x0, w0), x1, w1);
}
#endif

/* As `rescaled`; `is_left` tells whether any shift is above 0, which is seldom. */
static inline lanes rescaled_lanes(lanes x, lanes multiplier, lanes shift, int is_left)
{
    lanes left = is_left ? larger_of(shift, lanes_of(0)) : lanes_of(0);
    lanes product = multiply_high_lanes(is_left ? shift_left_lanes(x, left) : x, multiplier);
    return divide_lanes(product, difference_of(left, shift));
}

static inline lanes limited_lanes(lanes x, int32_t low, int32_t high)
{
    return smaller_of(larger_of(x, lanes_of(low)), lanes_of(high));
}

#else
#define SPECIALIZED inline
#endif
