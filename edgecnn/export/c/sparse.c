/* Sparse kernel: zeros are neither stored nor multiplied. Weights are in the encoding of edgecnn/export/sparse.py: per
 * filter a count of steps (uint16, little-endian), then the steps of all, four bits each, the earlier one in the low
 * half, then the values. A step of 0 to 14 means: so many zeros, then the next value; 15: fifteen zeros, no value. */

enum { SUMS_AT_ONCE = 16, SKIP = 15 };

struct sparse {
    struct convolution c;
    uint32_t steps; /* of all filters */
};

/* A weight that is not zero, and where in a window it looks. */
struct tap {
    uint16_t offset;
    int16_t weight;
};

struct reader {
    const uint8_t *counts, *steps;
    const int8_t *values;
    uint32_t step; /* the next one */
};

static int next_step(struct reader *r)
{
    int pair = r->steps[r->step / 2];
    return r->step++ % 2 ? pair >> 4 : pair & 15;
}

/* Read the taps of the next filter; return how many there are. */
static int read_taps(const struct convolution *c, struct reader *r, struct tap *taps)
{
    int steps = r->counts[0] | r->counts[1] << 8, found = 0;
    int channel = 0, x = 0, y = 0; /* of the place in the window */
    r->counts += 2;
    for (; steps; steps--) {
        int step = next_step(r), is_value = step != SKIP;
        for (channel += step; channel >= c->channels; channel -= c->channels)
            if (++x == c->window_width)
                x = 0, y++;
        if (is_value) {
            int offset = y * c->in_row + x * c->in_column + channel * c->in_channel;
            taps[found].offset = (uint16_t)offset;
            taps[found++].weight = *r->values++;
            channel++; /* a carry, if any, is made by the next step */
        }
    }
    return found;
}

/* The sums of one filter over `count` windows, `right` bytes apart. */
static void sparse_sums(const struct tap *taps, int tap_count, int32_t bias, const uint8_t *in, int right, int count,
                        int32_t *restrict sums)
{
    for (int i = 0; i < count; i++)
        sums[i] = bias;
    for (const struct tap *t = taps; t < taps + tap_count; t++) {
        const uint8_t *x = in + t->offset;
        if (right == 1)
            for (int i = 0; i < count; i++)
                sums[i] += x[i] * t->weight;
        else
            for (int i = 0; i < count; i++)
                sums[i] += x[i * right] * t->weight;
    }
}

/* sums[i] becomes the largest of the 2x2 that are pooled */
static void keep_largest_pairs(int count, int32_t *sums, const int32_t *below)
{
    for (int i = 0; i < count; i++)
        sums[i] = below[i] > sums[i] ? below[i] : sums[i];
    for (int i = 0; i < count / 2; i++)
        sums[i] = sums[2 * i + 1] > sums[2 * i] ? sums[2 * i + 1] : sums[2 * i];
}

/* One filter at all positions. `taps` is room for the filter with the most. */
static void convolve_filter(const struct convolution *c, int filter, const struct tap *taps, int tap_count,
                            const uint8_t *in, uint8_t *out)
{
    int32_t sums[SUMS_AT_ONCE], below[SUMS_AT_ONCE];
    int width = c->width * c->pool;
    for (int y = 0; y < c->height; y++)
        for (int x = 0; x < width; x += SUMS_AT_ONCE) {
            int count = width - x < SUMS_AT_ONCE ? width - x : SUMS_AT_ONCE;
            const uint8_t *window = in + y * c->pool * c->down + x * c->right;
            sparse_sums(taps, tap_count, c->bias[filter], window, c->right, count, sums);
            if (c->pool == 2) {
                sparse_sums(taps, tap_count, c->bias[filter], window + c->down, c->right, count, below);
                keep_largest_pairs(count, sums, below);
            }
            for (int i = 0; i < count / c->pool; i++)
                store(c, filter, 1, sums + i, out + y * c->out_row + (x / c->pool + i) * c->out_column);
        }
}

/* Filter after filter: its weights are decoded once and used at all positions. */
static void convolve_sparse(const struct sparse *s, const uint8_t *in, uint8_t *out, void *scratch)
{
    struct tap *taps = scratch;
    const uint8_t *encoded = s->c.weights, *steps = encoded + 2 * s->c.filters;
    struct reader reader = {encoded, steps, (const int8_t *)steps + (s->steps + 1) / 2, 0};
    for (int filter = 0; filter < s->c.filters; filter++) {
        int tap_count = read_taps(&s->c, &reader, taps);
        convolve_filter(&s->c, filter, taps, tap_count, in, out);
    }
}
