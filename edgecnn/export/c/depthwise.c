/* Depthwise kernel: every channel has filters of its own. Weights int8 [window height][window width][filters]. */

struct depthwise {
    struct convolution c;
    uint16_t multiplier; /* filters per channel */
};

static SPECIALIZED void add_scaled(const uint8_t *x, const int8_t *weights, int first, int count, int multiplier,
                                   int32_t *restrict sums)
{
    if (multiplier == 1)
        for (int f = 0; f < count; f++)
            sums[f] += x[first + f] * weights[first + f];
    else
        for (int f = 0; f < count; f++)
            sums[f] += x[(first + f) / multiplier] * weights[first + f];
}

static SPECIALIZED void depthwise_sums(const struct depthwise *d, int first, int count, const uint8_t *window, int32_t *sums)
{
    const int8_t *weights = d->c.weights;
    memset(sums, 0, (size_t)count * sizeof sums[0]);
    for (int y = 0; y < d->c.window_height; y++)
        for (int x = 0; x < d->c.window_width; x++, weights += d->c.filters)
            add_scaled(window + y * d->c.in_row + x * d->c.in_column, weights, first, count, d->multiplier, sums);
}

static SPECIALIZED void depthwise_filters(const struct depthwise *d, int first, int count, const uint8_t *in,
                                          uint8_t *out)
{
    const struct convolution *c = &d->c;
    int32_t sums[FILTERS_AT_ONCE];
    for (int y = 0; y < c->height; y++)
        for (int x = 0; x < c->width; x++) {
            depthwise_sums(d, first, count, in + y * c->down + x * c->right, sums);
            store(c, first, count, sums, out + y * c->out_row + x * c->out_column);
        }
}

static SPECIALIZED void convolve_depthwise(const struct depthwise *d, const uint8_t *in, uint8_t *out)
{
    const int rest = d->c.filters % FILTERS_AT_ONCE, whole = d->c.filters - rest;
    for (int first = 0; first < whole; first += FILTERS_AT_ONCE)
        depthwise_filters(d, first, FILTERS_AT_ONCE, in, out);
    if (rest)
        depthwise_filters(d, whole, rest, in, out);
}
