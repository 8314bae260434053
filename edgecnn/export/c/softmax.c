/* Softmax in fixed point, as LiteRT's reference kernel has it: Qm.n has m bits before the point, n behind. */

struct softmax {
    int32_t multiplier; /* from a difference of inputs to Q5.26: multiplier * 2^shift / 2^31 */
    int8_t shift;
    int16_t least;      /* difference; what is further below the largest input has no probability */
    uint16_t rows, classes;
};

/* exp(x) for x in Q5.26, at most 0, as Q0.31: a series on [-1/4, 0), times exp(-2^k) for each bit of the rest. */
static int32_t exp_of(int32_t x)
{
    static const int32_t powers[] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
    const int32_t quarter = 1 << 24;
    int32_t part = (x & (quarter - 1)) - quarter, rest = part - x;
    int32_t t = part * 32 + (1 << 28); /* Q0.31, and 1/8 */
    int32_t t2 = multiply_high(t, t), t3 = multiply_high(t2, t), t4 = multiply_high(t2, t2);
    int32_t series = divide_by_power(multiply_high(divide_by_power(t4, 2) + t3, 715827883) + t2, 1);
    int32_t result = 1895147668 + multiply_high(1895147668, t + series); /* exp(-1/8) (1 + t + t^2/2 + ...) */
    for (int k = 0; k < 7; k++)
        if (rest & quarter << k)
            result = multiply_high(result, powers[k]);
    return x == 0 ? INT32_MAX : result;
}

/* 1 / (1 + x) for x in [0, 1), both Q0.31: three steps of Newton's on the half of the denominator, in Q2.29. */
static int32_t reciprocal_of_one_and(int32_t x)
{
    int32_t half = (int32_t)(((int64_t)x + INT32_MAX + 1) / 2);
    int32_t guess = 1515870810 + multiply_high(half, -1010580540); /* 48/17 - 32/17 half */
    for (int i = 0; i < 3; i++) {
        int32_t error = (1 << 29) - multiply_high(half, guess);
        guess += (int32_t)((uint32_t)multiply_high(guess, error) << 2);
    }
    return guess > INT32_MAX / 2 ? INT32_MAX : guess * 2;
}

static int32_t exp_of_difference(const struct softmax *s, int32_t difference)
{
    return exp_of(multiply_high((int32_t)((uint32_t)difference << s->shift), s->multiplier));
}

static void softmax_row(const struct softmax *s, const uint8_t *in, uint8_t *out)
{
    int32_t most = 0;
    uint32_t sum = 0; /* Q12.19 */
    int headroom = 0;
    for (int i = 0; i < s->classes; i++)
        most = in[i] > most ? in[i] : most;
    for (int i = 0; i < s->classes; i++)
        if (in[i] - most >= s->least)
            sum += (uint32_t)divide_by_power(exp_of_difference(s, in[i] - most), 12);
    while (!(sum << headroom & UINT32_C(1) << 31))
        headroom++;
    int32_t scale = reciprocal_of_one_and((int32_t)((sum << headroom) - (UINT32_C(1) << 31)));
    for (int i = 0; i < s->classes; i++) {
        int32_t share = 0;
        if (in[i] - most >= s->least)
            share = divide_by_power(multiply_high(scale, exp_of_difference(s, in[i] - most)), 12 - headroom + 31 - 8);
        out[i] = (uint8_t)limited(share, 0, 255);
    }
}

static void softmax(const struct softmax *s, const uint8_t *in, uint8_t *out)
{
    for (int row = 0; row < s->rows; row++)
        softmax_row(s, in + row * s->classes, out + row * s->classes);
}
