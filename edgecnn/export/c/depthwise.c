/* Depthwise kernel: every channel has filters of its own. Weights int8 [window height][window width][filters]. */

struct depthwise {
    struct convolution c;
    uint16_t multiplier; /* filters per channel */
};

static void add_scaled(const uint8_t *x, const int8_t *weights, int first, int count, int multiplier,
                       int32_t *restrict sums)
{
    if (multiplier == 1)
        for (int f = 0; f < count; f++)
            sums[f] += x[first + f] * weights[first + f];
    else
        for (int f = 0; f < count; f++)
            sums[f] += x[(first + f) / multiplier] * weights[first + f];
}

static void depthwise_sums(const struct depthwise *d, int first, int count, const uint8_t *window, int32_t *sums)
{
    const int8_t *weights = d->c.weights;
    memcpy(sums, d->c.bias + first, (size_t)count * sizeof sums[0]);
    for (int y = 0; y < d->c.window_height; y++)
        for (int x = 0; x < d->c.window_width; x++, weights += d->c.filters)
            add_scaled(window + y * d->c.in_row + x * d->c.in_column, weights, first, count, d->multiplier, sums);
}

static void convolve_depthwise(const struct depthwise *d, const uint8_t *in, uint8_t *out)
{
    const struct convolution *c = &d->c;
    int32_t sums[FILTERS_AT_ONCE];
    for (int y = 0; y < c->height; y++)
        for (int x = 0; x < c->width; x++)
            for (int first = 0; first < c->filters; first += FILTERS_AT_ONCE) {
                int left = c->filters - first, count = left < FILTERS_AT_ONCE ? left : FILTERS_AT_ONCE;
                depthwise_sums(d, first, count, in + y * c->down + x * c->right, sums);
                store(c, first, count, sums, out + y * c->out_row + x * c->out_column);
            }
}
