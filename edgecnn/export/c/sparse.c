/* Sparse kernel: zeros are neither stored nor multiplied. Weights are in the encoding of edgecnn/export/sparse.py: per
 * filter a count of steps (uint16, little-endian), then the steps of all, four bits each, the earlier one in the low
 * half, then the values. A step of 0 to 14 means: so many zeros, then the next value; 15: fifteen zeros, no value. */

enum { POSITIONS_AT_ONCE = 16, RUNS_AT_ONCE = 6, SKIP = 15 };

/* Inputs are int8 where NEON sums neighbours: less by 128 each, which is made up for. */
#if defined(HAS_VECTORS) && !defined(__AVX2__)
enum { SUMS_WEIGHTS = 1 };
#else
enum { SUMS_WEIGHTS = 0 };
#endif

struct sparse {
    struct convolution c;
    uint32_t steps;   /* of all filters */
    uint16_t columns; /* of the matrix of weights: places in a window; 0 where the window is one run of memory, and all */
    uint16_t rows;    /* of positions whose sums are made at once, before pooling: a divisor of all */
    uint16_t band;    /* of these rows so many lie one behind the other as they do in the input, and bands behind bands */
    uint16_t pitch;   /* from a row of a band to the next: `down` where sums are made along the memory of the input, gaps
                         between its rows included, which takes that positions are neighbours there; else their number */
    uint16_t room;    /* for sums */
    uint16_t most;    /* weights of a filter, a last odd one counted twice */
};

/* The weights of a filter that are not zero, and where in a window they look. Their number is even: the last may
 * be of weight 0. */
struct taps {
    const uint16_t *offset;
    const int16_t *weight;
    int count;
    int32_t total; /* of the weights, where SUMS_WEIGHTS */
};

struct reader {
    const uint8_t *counts, *steps;
    const int8_t *values;
    uint32_t step; /* the next one */
};

/* What reading a filter has come to. */
struct reading {
    const int8_t *values;
    size_t count;          /* of them, and */
    int32_t sum;           /* or of products */
    size_t column;         /* of the next one; for weights that are kept, */
    const uint16_t *place; /* the places of the columns, */
    uint16_t *offset;      /* those found, and */
    int16_t *weight;
    const uint8_t *in;     /* for a product: the window, from the next column on */
};

/* Where the columns of the matrix of weights lie in memory, from the start of a window. */
static SPECIALIZED void find_places(const struct convolution *c, uint16_t *place)
{
    for (int y = 0; y < c->window_height; y++)
        for (int x = 0; x < c->window_width; x++) {
            int at = y * c->in_row + x * c->in_column;
            for (int channel = 0; channel < c->channels; channel++, at += c->in_channel)
                *place++ = (uint16_t)at;
        }
}

static SPECIALIZED void take_tap(struct reading *r, unsigned step)
{
    r->column += step;
    if (step == SKIP)
        return;
    int value = r->values[r->count];
    r->offset[r->count] = r->place[r->column++];
    r->weight[r->count++] = (int16_t)value;
    if (SUMS_WEIGHTS)
        r->sum += value;
}

static SPECIALIZED void take_product(struct reading *r, unsigned step)
{
    r->in += step;
    if (step == SKIP)
        return;
    r->sum += *r->in++ * *r->values++;
    r->count++;
}

/* Read the next filter. */
static SPECIALIZED void read_filter(struct reader *reader, struct reading *r, void (*take)(struct reading *, unsigned))
{
    size_t at = reader->step, end = at + (reader->counts[0] | (size_t)reader->counts[1] << 8);
    const uint8_t *pair = reader->steps + at / 2, *last = reader->steps + end / 2;
    r->values = reader->values;
    if (at % 2 && at < end)
        take(r, *pair++ >> 4);
    for (; pair < last; pair++) {
        unsigned both = *pair;
        take(r, both & 15);
        take(r, both >> 4);
    }
    if (end % 2 && at < end)
        take(r, *pair & 15);
    reader->counts += 2;
    reader->step = (uint32_t)end;
    reader->values += r->count;
}

/* Read the weights of the next filter. */
static struct taps read_taps(const uint16_t *place, struct reader *reader, uint16_t *offset, int16_t *weight)
{
    struct reading r = {NULL, 0, 0, 0, place, offset, weight, NULL};
    read_filter(reader, &r, take_tap);
    if (r.count % 2) {
        offset[r.count] = offset[r.count - 1];
        weight[r.count++] = 0;
    }
    struct taps taps = {offset, weight, (int)r.count, r.sum};
    return taps;
}

/* The sum of the next filter over a window that is one run of memory: nothing needs to be kept. */
static SPECIALIZED int32_t sum_run(struct reader *reader, const uint8_t *in)
{
    struct reading r = {NULL, 0, 0, 0, NULL, NULL, NULL, in};
    read_filter(reader, &r, take_product);
    return r.sum;
}

/* Where a run of positions lies in the input, `each` runs a band. */
static inline int run_at(int run, int each, int band_bytes)
{
    return run / each * band_bytes + run % each * POSITIONS_AT_ONCE;
}

/* The sums of one filter at some runs of 16 positions that lie side by side. */
#if defined(HAS_VECTORS) && defined(__AVX2__)

static inline __m256i inputs_of_16(const uint8_t *in)
{
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)in));
}

static SPECIALIZED void sum_neighbours(const struct taps *taps, int32_t bias, int runs, int each, int band_bytes,
                                       const uint8_t *in, int32_t *sums)
{
    __m256i low[RUNS_AT_ONCE], high[RUNS_AT_ONCE]; /* positions 0 to 3 and 8 to 11; 4 to 7 and 12 to 15 */
    UNROLLED for (int i = 0; i < runs; i++)
        low[i] = high[i] = _mm256_set1_epi32(bias);
    for (int t = 0; t < taps->count; t += 2) {
        const uint8_t *in_a = in + taps->offset[t], *in_b = in + taps->offset[t + 1];
        int32_t both;
        memcpy(&both, taps->weight + t, sizeof both);
        __m256i w = _mm256_set1_epi32(both);
        UNROLLED for (int i = 0; i < runs; i++) {
            int at = run_at(i, each, band_bytes);
            __m256i a = inputs_of_16(in_a + at), b = inputs_of_16(in_b + at);
            low[i] = _mm256_add_epi32(low[i], _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), w));
            high[i] = _mm256_add_epi32(high[i], _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), w));
        }
    }
    UNROLLED for (int i = 0; i < runs; i++) {
        __m256i *at = (__m256i *)(void *)(sums + 16 * i);
        _mm256_storeu_si256(at, _mm256_permute2x128_si256(low[i], high[i], 0x20));
        _mm256_storeu_si256(at + 1, _mm256_permute2x128_si256(low[i], high[i], 0x31));
    }
}

#elif defined(HAS_VECTORS)

static inline int8x16_t inputs_of_16(const uint8_t *in)
{
    return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(in), vdupq_n_u8(0x80)));
}

static SPECIALIZED void sum_neighbours(const struct taps *taps, int32_t bias, int runs, int each, int band_bytes,
                                       const uint8_t *in, int32_t *sums)
{
    int32x4_t s[RUNS_AT_ONCE][4];
    UNROLLED for (int i = 0; i < runs; i++)
        UNROLLED for (int j = 0; j < 4; j++)
            s[i][j] = vdupq_n_s32(bias + 128 * taps->total);
    for (int t = 0; t < taps->count; t += 2) {
        const uint8_t *in_a = in + taps->offset[t], *in_b = in + taps->offset[t + 1];
        int8x16_t wa = vdupq_n_s8((int8_t)taps->weight[t]), wb = vdupq_n_s8((int8_t)taps->weight[t + 1]);
        UNROLLED for (int i = 0; i < runs; i++) {
            int at = run_at(i, each, band_bytes);
            int8x16_t a = inputs_of_16(in_a + at), b = inputs_of_16(in_b + at);
            int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(wa)), high = vmull_high_s8(a, wa);
            low = vmlal_s8(low, vget_low_s8(b), vget_low_s8(wb)); /* at most 2 * 128 * 127 */
            high = vmlal_high_s8(high, b, wb);
            s[i][0] = vaddw_s16(s[i][0], vget_low_s16(low));
            s[i][1] = vaddw_high_s16(s[i][1], low);
            s[i][2] = vaddw_s16(s[i][2], vget_low_s16(high));
            s[i][3] = vaddw_high_s16(s[i][3], high);
        }
    }
    UNROLLED for (int i = 0; i < runs; i++)
        UNROLLED for (int j = 0; j < 4; j++)
            vst1q_s32(sums + 16 * i + 4 * j, s[i][j]);
}

#else

static void sum_neighbours(const struct taps *taps, int32_t bias, int runs, int each, int band_bytes,
                           const uint8_t *in, int32_t *restrict sums)
{
    for (int run = 0; run < runs; run++, sums += POSITIONS_AT_ONCE) {
        const uint8_t *from = in + run_at(run, each, band_bytes);
        for (int i = 0; i < POSITIONS_AT_ONCE; i++)
            sums[i] = bias;
        for (int t = 0; t < taps->count; t += 2) {
            const uint8_t *a = from + taps->offset[t], *b = from + taps->offset[t + 1];
            for (int i = 0; i < POSITIONS_AT_ONCE; i++)
                sums[i] += a[i] * taps->weight[t] + b[i] * taps->weight[t + 1];
        }
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

/* How many runs of positions a band has. */
static SPECIALIZED int runs_of(const struct sparse *s)
{
    return ((s->band - 1) * s->pitch + s->c.width * s->c.pool + POSITIONS_AT_ONCE - 1) / POSITIONS_AT_ONCE;
}

/* The sums of some bands, which have few runs each, or of a single one. */
static SPECIALIZED void sum_bands(const struct sparse *s, const struct taps *taps, int32_t bias, int bands,
                                  const uint8_t *in, int32_t *sums)
{
    const int each = runs_of(s), runs = bands * each, whole = bands == 1 ? runs / RUNS_AT_ONCE * RUNS_AT_ONCE : 0;
    const int band_bytes = s->band * s->c.down;
    for (int run = 0; run < whole; run += RUNS_AT_ONCE) {
        const int at = run * POSITIONS_AT_ONCE;
        sum_neighbours(taps, bias, RUNS_AT_ONCE, each, band_bytes, in + at, sums + at);
    }
    const int at = whole * POSITIONS_AT_ONCE;
    sum_neighbours(taps, bias, runs - whole, each, band_bytes, in + at, sums + at);
}

/* The sums of s->rows rows of `width` positions. */
static SPECIALIZED void sparse_sums(const struct sparse *s, const struct taps *taps, int32_t bias, const uint8_t *in,
                                    int width, int32_t *sums)
{
    if (s->c.right == 1) {
        const int each = runs_of(s), bands = s->rows / s->band;
        const int together = each < RUNS_AT_ONCE ? RUNS_AT_ONCE / each : 1, rest = bands % together;
        int band = 0;
        for (; band < bands - rest; band += together)
            sum_bands(s, taps, bias, together, in + band * s->band * s->c.down,
                      sums + band * each * POSITIONS_AT_ONCE);
        if (rest)
            sum_bands(s, taps, bias, rest, in + band * s->band * s->c.down, sums + band * each * POSITIONS_AT_ONCE);
    } else {
        for (int y = 0; y < s->rows; y++)
            for (int x = 0; x < width; x++)
                sums[y * s->pitch + x] = sum_alone(taps, bias, in + y * s->c.down + x * s->c.right);
    }
}

/* pooled[x] becomes the largest of the 2x2 sums that it stands for; it may lie where they do, or before. Vectors go
 * beyond the row: what they read there is not used, and what they write is still to be written, or has been read. */
static SPECIALIZED void pool_row(int width, int pitch, int32_t *row, int32_t *pooled)
{
    const int32_t *below = row + pitch;
    int x = 0;
#if defined(HAS_VECTORS)
    for (; x < width && 2 * pitch >= width + LANES; x += LANES) {
        lanes left = larger_of(lanes_at(row + 2 * x), lanes_at(below + 2 * x));
        lanes right = larger_of(lanes_at(row + 2 * x + LANES), lanes_at(below + 2 * x + LANES));
        store_lanes(larger_of_pairs(left, right), pooled + x);
    }
#endif
    for (; x < width; x++) {
        int32_t above = row[2 * x + 1] > row[2 * x] ? row[2 * x + 1] : row[2 * x];
        int32_t under = below[2 * x + 1] > below[2 * x] ? below[2 * x + 1] : below[2 * x];
        pooled[x] = under > above ? under : above;
    }
}

/* Leave of the rows of sums the outputs, `rows` rows one behind the other. */
static SPECIALIZED void keep_outputs(const struct sparse *s, int rows, int32_t *sums)
{
    const int width = s->c.width, of_band = s->band / s->c.pool, room = runs_of(s) * POSITIONS_AT_ONCE;
    for (int y = 0; y < rows; y++) {
        int32_t *row = sums + y / of_band * room + y % of_band * s->c.pool * s->pitch;
        if (s->c.pool == 2)
            pool_row(width, s->pitch, row, sums + y * width);
        else
            memmove(sums + y * width, row, (size_t)width * sizeof *sums);
    }
}

/* Turn the sums of one filter into activations, which take their place from the first byte on. */
static SPECIALIZED void rescale_sums(const struct convolution *c, int filter, int count, int32_t *sums)
{
    uint8_t *made = (uint8_t *)sums;
    int in_vectors = 0;
#if defined(HAS_VECTORS)
    in_vectors = c->rounds_once ? 0 : count; /* there is room behind them */
    lanes multiplier = lanes_of(c->multiplier[filter]), shift = lanes_of(c->shift[filter]);
    for (int i = 0; i < in_vectors; i += LANES) {
        lanes value = rescaled_lanes(lanes_at(sums + i), multiplier, shift, c->is_left);
        store_bytes(limited_lanes(sum_of(value, lanes_of(c->zero)), c->low, c->high), made + i);
    }
#endif
    for (int i = in_vectors; i < count; i++)
        made[i] = activation(c, filter, sums[i]);
}

/* Put rows of activations where they belong. */
static SPECIALIZED void store_rows(const struct convolution *c, int rows, const uint8_t *made, uint8_t *out)
{
    for (int y = 0; y < rows; y++, made += c->width, out += c->out_row)
        if (c->out_column == 1)
            memcpy(out, made, c->width);
        else
            for (int x = 0; x < c->width; x++)
                out[x * c->out_column] = made[x];
}

/* One filter at all positions. */
static SPECIALIZED void convolve_filter(const struct sparse *s, int filter, const struct taps *taps, const uint8_t *in,
                                        uint8_t *out, int32_t *sums)
{
    const struct convolution *c = &s->c;
    const int made = s->rows / c->pool;
    out += filter * c->out_channel;
    for (int top = 0; top < c->height; top += made) {
        sparse_sums(s, taps, c->bias[filter], in + top * c->pool * c->down, c->width * c->pool, sums);
        keep_outputs(s, made, sums);
        rescale_sums(c, filter, made * c->width, sums);
        store_rows(c, made, (const uint8_t *)sums, out + top * c->out_row);
    }
}

/* Filter after filter: its weights are decoded once and used at all positions. `scratch` has room for the sums, for the
 * weights of the filter with the most, and for the places of the columns. */
static SPECIALIZED void convolve_sparse(const struct sparse *s, const uint8_t *in, uint8_t *out, void *scratch)
{
    int32_t *sums = scratch;
    uint16_t *offset = (uint16_t *)(sums + s->room), *place = offset + 2 * s->most;
    const uint8_t *encoded = s->c.weights, *steps = encoded + 2 * s->c.filters;
    struct reader reader = {encoded, steps, (const int8_t *)steps + (s->steps + 1) / 2, 0};
    if (s->columns)
        find_places(&s->c, place);
    for (int filter = 0; filter < s->c.filters; filter++) {
        if (s->columns) {
            struct taps taps = read_taps(place, &reader, offset, (int16_t *)(offset + s->most));
            convolve_filter(s, filter, &taps, in, out, sums);
        } else {
            out[filter * s->c.out_channel] = activation(&s->c, filter, s->c.bias[filter] + sum_run(&reader, in));
        }
    }
}
