/* Sparse kernel: zeros are neither stored nor multiplied. Weights are in the encoding of edgecnn/export/sparse.py: per
 * filter a count of steps (uint16, little-endian), then the steps of all, four bits each, the earlier one in the low
 * half, then the values. A step of 0 to 14 means: so many zeros, then the next value; 15: fifteen zeros, no value. */

enum { POSITIONS_AT_ONCE = 16, SKIP = 15 };

struct sparse {
    struct convolution c;
    uint32_t steps; /* of all filters */
    uint16_t rows;  /* of positions whose sums are made at once, before pooling */
    uint16_t pitch; /* from a row of sums to the next: `down` where sums are made along the memory of the input, gaps
                       between its rows included, which takes that positions are neighbours there; else their number */
    uint16_t room;  /* for sums */
    uint16_t most;  /* weights of a filter, a last odd one counted twice */
};

/* The weights of a filter that are not zero, and where in a window they look. Their number is even: the last may
 * be of weight 0. */
struct taps {
    uint16_t *offset;
    int16_t *weight;
    int count;
};

struct reader {
    const uint8_t *counts, *steps;
    const int8_t *values;
    uint32_t step; /* the next one */
};

static inline int next_step(struct reader *r)
{
    int pair = r->steps[r->step / 2];
    return r->step++ & 1 ? pair >> 4 : pair & 15;
}

/* Read the weights of the next filter. */
static void read_taps(const struct convolution *c, struct reader *reader, struct taps *taps)
{
    struct reader r = *reader; /* and the window's sizes: in registers, while memory is written */
    uint16_t *offset = taps->offset;
    int16_t *weight = taps->weight;
    int channels = c->channels, in_channel = c->in_channel;
    int steps = r.counts[0] | r.counts[1] << 8;
    int channel = 0, x = 0, start = 0; /* of the place in the window: `start` is where its channels begin */
    r.counts += 2;
    for (; steps; steps--) {
        int step = next_step(&r);
        for (channel += step; channel >= channels; channel -= channels) {
            start += c->in_column;
            if (++x == c->window_width)
                x = 0, start += c->in_row - c->window_width * c->in_column;
        }
        if (step == SKIP)
            continue;
        *offset++ = (uint16_t)(start + channel * in_channel);
        *weight++ = *r.values++;
        channel++; /* a carry, if any, is made by the next step */
    }
    if ((weight - taps->weight) % 2)
        *offset = offset[-1], *weight++ = 0;
    *reader = r;
    taps->count = (int)(weight - taps->weight);
}

/* The sums of one filter at 16 positions that lie side by side. */
#if defined(HAS_VECTORS) && defined(__AVX2__)

static inline __m256i inputs_of_16(const uint8_t *in)
{
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)in));
}

static void sum_neighbours(const struct taps *taps, int32_t bias, const uint8_t *in, int32_t *sums)
{
    __m256i low = _mm256_set1_epi32(bias), high = low; /* positions 0 to 3 and 8 to 11; 4 to 7 and 12 to 15 */
    for (int t = 0; t < taps->count; t += 2) {
        __m256i a = inputs_of_16(in + taps->offset[t]), b = inputs_of_16(in + taps->offset[t + 1]);
        int32_t both;
        memcpy(&both, taps->weight + t, sizeof both);
        __m256i w = _mm256_set1_epi32(both);
        low = _mm256_add_epi32(low, _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), w));
        high = _mm256_add_epi32(high, _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), w));
    }
    _mm256_storeu_si256((__m256i *)(void *)sums, _mm256_permute2x128_si256(low, high, 0x20));
    _mm256_storeu_si256((__m256i *)(void *)(sums + 8), _mm256_permute2x128_si256(low, high, 0x31));
}

#elif defined(HAS_VECTORS) && defined(INPUTS_ARE_INT8)

static inline int8x16_t inputs_of_16(const uint8_t *in)
{
    return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(in), vdupq_n_u8(0x80)));
}

static void sum_neighbours(const struct taps *taps, int32_t bias, const uint8_t *in, int32_t *sums)
{
    int32x4_t s[4] = {vdupq_n_s32(bias), vdupq_n_s32(bias), vdupq_n_s32(bias), vdupq_n_s32(bias)};
    int32_t total = 0; /* of the weights, which inputs that are less by 128 make so much less */
    for (int t = 0; t < taps->count; t += 2) {
        int8x16_t a = inputs_of_16(in + taps->offset[t]), b = inputs_of_16(in + taps->offset[t + 1]);
        int8x16_t w0 = vdupq_n_s8((int8_t)taps->weight[t]), w1 = vdupq_n_s8((int8_t)taps->weight[t + 1]);
        int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(w0)), high = vmull_high_s8(a, w0);
        low = vmlal_s8(low, vget_low_s8(b), vget_low_s8(w1)); /* at most 2 * 128 * 127: weights are -127 to 127 */
        high = vmlal_high_s8(high, b, w1);
        s[0] = vaddw_s16(s[0], vget_low_s16(low));
        s[1] = vaddw_high_s16(s[1], low);
        s[2] = vaddw_s16(s[2], vget_low_s16(high));
        s[3] = vaddw_high_s16(s[3], high);
        total += taps->weight[t] + taps->weight[t + 1];
    }
    for (int i = 0; i < 4; i++)
        vst1q_s32(sums + 4 * i, vaddq_s32(s[i], vdupq_n_s32(128 * total)));
}

#else

static void sum_neighbours(const struct taps *taps, int32_t bias, const uint8_t *in, int32_t *restrict sums)
{
    for (int i = 0; i < POSITIONS_AT_ONCE; i++)
        sums[i] = bias;
    for (int t = 0; t < taps->count; t += 2) {
        const uint8_t *a = in + taps->offset[t], *b = in + taps->offset[t + 1];
        for (int i = 0; i < POSITIONS_AT_ONCE; i++)
            sums[i] += a[i] * taps->weight[t] + b[i] * taps->weight[t + 1];
    }
}

#endif

/* The sum of one filter at one position. */
static int32_t sum_alone(const struct taps *taps, int32_t bias, const uint8_t *in)
{
    for (int t = 0; t < taps->count; t += 2)
        bias += in[taps->offset[t]] * taps->weight[t] + in[taps->offset[t + 1]] * taps->weight[t + 1];
    return bias;
}

/* The sums of `rows` rows of `width` positions. */
static void sparse_sums(const struct sparse *s, const struct taps *taps, int32_t bias, const uint8_t *in,
                        int rows, int width, int32_t *sums)
{
    if (s->c.right == 1)
        for (int i = 0; i < (rows - 1) * s->pitch + width; i += POSITIONS_AT_ONCE)
            sum_neighbours(taps, bias, in + i, sums + i);
    else
        for (int y = 0; y < rows; y++)
            for (int x = 0; x < width; x++)
                sums[y * s->pitch + x] = sum_alone(taps, bias, in + y * s->c.down + x * s->c.right);
}

/* pooled[x] becomes the largest of the 2x2 sums that it stands for; it may lie where they do, or before. */
static void pool_row(int width, int32_t *row, const int32_t *below, int32_t *pooled)
{
    for (int x = 0; x < 2 * width; x++)
        row[x] = below[x] > row[x] ? below[x] : row[x];
    for (int x = 0; x < width; x++)
        pooled[x] = row[2 * x + 1] > row[2 * x] ? row[2 * x + 1] : row[2 * x];
}

/* Leave of `rows` rows of sums the outputs, row behind row. */
static void keep_outputs(const struct sparse *s, int rows, int32_t *sums)
{
    int width = s->c.width;
    for (int y = 0; y < rows / s->c.pool; y++) {
        int32_t *row = sums + y * s->c.pool * s->pitch;
        if (s->c.pool == 2)
            pool_row(width, row, row + s->pitch, sums + y * width);
        else
            memmove(sums + y * width, row, (size_t)width * sizeof *sums);
    }
}

/* Turn the sums of one filter, `rows` rows of outputs, into activations. */
static void store_rows(const struct convolution *c, int filter, int rows, int32_t *sums, uint8_t *out)
{
    int32_t multiplier = c->multiplier[filter];
    int shift = c->shift[filter], count = rows * c->width;
    if (c->rounds_once)
        for (int i = 0; i < count; i++)
            sums[i] = limited(c->zero + rescaled_once(sums[i], multiplier, shift), c->low, c->high);
    else
        for (int i = 0; i < count; i++)
            sums[i] = limited(c->zero + rescaled(sums[i], multiplier, shift), c->low, c->high);
    for (int y = 0; y < rows; y++, out += c->out_row)
        for (int x = 0; x < c->width; x++)
            out[x * c->out_column] = (uint8_t)*sums++;
}

/* One filter at all positions. */
static void convolve_filter(const struct sparse *s, int filter, const struct taps *taps, const uint8_t *in,
                            uint8_t *out, int32_t *sums)
{
    const struct convolution *c = &s->c;
    int height = c->height * c->pool, width = c->width * c->pool;
    for (int top = 0; top < height; top += s->rows) {
        int rows = height - top < s->rows ? height - top : s->rows;
        sparse_sums(s, taps, c->bias[filter], in + top * c->down, rows, width, sums);
        keep_outputs(s, rows, sums);
        store_rows(c, filter, rows / c->pool, sums, out + top / c->pool * c->out_row + filter * c->out_channel);
    }
}

/* Filter after filter: its weights are decoded once and used at all positions. `scratch` has room for the sums, and
 * for the weights of the filter with the most. */
static void convolve_sparse(const struct sparse *s, const uint8_t *in, uint8_t *out, void *scratch)
{
    int32_t *sums = scratch;
    uint16_t *offsets = (uint16_t *)(sums + s->room);
    struct taps taps = {offsets, (int16_t *)(offsets + s->most), 0};
    const uint8_t *encoded = s->c.weights, *steps = encoded + 2 * s->c.filters;
    struct reader reader = {encoded, steps, (const int8_t *)steps + (s->steps + 1) / 2, 0};
    for (int filter = 0; filter < s->c.filters; filter++) {
        read_taps(&s->c, &reader, &taps);
        convolve_filter(s, filter, &taps, in, out, sums);
    }
}
