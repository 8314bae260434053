/* Numbers: integers alone, rounded as LiteRT's reference kernels round. */

/* The shifts below rely on what every known compiler does with negative numbers. */
typedef char right_shift_keeps_the_sign[(-1 >> 1) == -1 ? 1 : -1];

/* x * fraction / 2^31, rounded to nearest. */
static inline int32_t multiply_high(int32_t x, int32_t fraction)
{
    return (int32_t)(((int64_t)x * fraction + (INT64_C(1) << 30)) >> 31);
}

/* x / 2^exponent, rounded to nearest, halves away from zero. */
static inline int32_t divide_by_power(int32_t x, int exponent)
{
    int32_t mask = (int32_t)((UINT32_C(1) << exponent) - 1);
    int32_t half = (mask >> 1) + (x < 0);
    return (x >> exponent) + ((x & mask) > half);
}

/* x * multiplier / 2^31 * 2^shift: how a sum becomes a number of another scale. */
static inline int32_t rescaled(int32_t x, int32_t multiplier, int shift)
{
    int left = shift > 0 ? shift : 0;
    int32_t product = multiply_high((int32_t)((uint32_t)x << left), multiplier);
    return divide_by_power(product, left - shift);
}

/* The same, rounded once and not twice, halves up: what the reference kernel of dense layers does. */
static inline int32_t rescaled_once(int32_t x, int32_t multiplier, int shift)
{
    int right = 31 - shift;
    return (int32_t)(((int64_t)x * multiplier + (INT64_C(1) << (right - 1))) >> right);
}

static inline int32_t limited(int32_t x, int32_t low, int32_t high)
{
    return x < low ? low : x > high ? high : x;
}
