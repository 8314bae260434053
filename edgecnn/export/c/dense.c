/* Dense kernel. Weights int8 [window height][quads][filters][4]: four neighbours along a row of the window lie
 * together, for they are multiplied at once; rows that are no multiple of four, and filters, are filled up with zeros.
 * Up to three bytes behind a row of the input are read, and multiplied by those zeros. */

struct dense {
    struct convolution c;
    uint16_t quads;     /* of a row of the window */
    uint16_t quad_step; /* bytes of weights from quad to quad */
};

#if defined(INPUTS_ARE_INT8)
#define DENSE_BIAS(layer) layer##_bias_for_int8
#else
#define DENSE_BIAS(layer) layer##_bias
#endif

#if defined(HAS_VECTORS)

/* Add to the sums of some vectors of filters, over some windows, the products of one quad, or of two. */
static SPECIALIZED void add_quads(int quads, int windows, int vectors, int left, const int8_t *weights, int step,
                                  const uint8_t *const window[], int at, vector_sums s[][VECTORS])
{
    vector_weights w[2][VECTORS];
    UNROLLED for (int v = 0; v < vectors; v++) {
        w[0][v] = weights_at(weights + 4 * v * LANES, left - v * LANES);
        if (quads == 2)
            w[1][v] = weights_at(weights + step + 4 * v * LANES, left - v * LANES);
    }
    UNROLLED for (int i = 0; i < windows; i++) {
        vector_inputs x0 = inputs_at(window[i] + at);
        vector_inputs x1 = quads == 2 ? inputs_at(window[i] + at + 4) : x0;
        UNROLLED for (int v = 0; v < vectors; v++)
            s[i][v] = quads == 2 ? add_two(s[i][v], x0, w[0][v], x1, w[1][v]) : add_vector(s[i][v], x0, w[0][v]);
    }
}

/* The sums of up to VECTORS vectors of filters, from `at` on, over one window or WINDOWS_AT_ONCE; or the largest of them,
 * if they are pooled. */
static SPECIALIZED void sum_vectors(const struct dense *d, int first, int at, int count, int windows, int vectors,
                                    const uint8_t *const window[], int32_t sums[][FILTERS_AT_ONCE])
{
    const int8_t *weights = (const int8_t *)d->c.weights + 4 * (first + at);
    vector_sums s[WINDOWS_AT_ONCE][VECTORS];
    UNROLLED for (int i = 0; i < windows; i++)
        UNROLLED for (int v = 0; v < vectors; v++)
            s[i][v] = no_sums();
    for (int row = 0; row < d->c.window_height; row++) {
        int x_at = row * d->c.in_row, quad = 0;
        if (QUADS_AT_ONCE == 2)
            for (; quad + 2 <= d->quads; quad += 2, x_at += 8, weights += 2 * d->quad_step)
                add_quads(2, windows, vectors, count, weights, d->quad_step, window, x_at, s);
        for (; quad < d->quads; quad++, x_at += 4, weights += d->quad_step)
            add_quads(1, windows, vectors, count, weights, d->quad_step, window, x_at, s);
    }
    UNROLLED for (int v = 0; v < vectors; v++) {
        lanes largest = total_of(s[0][v]);
        UNROLLED for (int i = 1; i < windows; i++)
            if (d->c.pool == 2)
                largest = larger_of(largest, total_of(s[i][v]));
            else
                store_lanes(total_of(s[i][v]), sums[i] + at + v * LANES);
        store_lanes(largest, sums[0] + at + v * LANES);
    }
}

static SPECIALIZED void sum_all(const struct dense *d, int first, int count, int windows, const uint8_t *const window[],
                                int32_t sums[][FILTERS_AT_ONCE])
{
    int at = 0;
    for (; count - at > (VECTORS - 1) * LANES; at += VECTORS * LANES)
        sum_vectors(d, first, at, count - at, windows, VECTORS, window, sums);
    for (; at < count; at += LANES)
        sum_vectors(d, first, at, count - at, windows, 1, window, sums);
}

/* The sums of `count` filters, from `first` on, over each of `windows` windows, or the largest of four that are pooled.
 * More than one are taken for four: those that are not asked for must be there, and their sums are not looked at. */
static SPECIALIZED void dense_sums(const struct dense *d, int first, int count, const uint8_t *const window[],
                                   int windows, int32_t sums[][FILTERS_AT_ONCE])
{
    if (windows == 1)
        sum_all(d, first, count, 1, window, sums);
    else
        sum_all(d, first, count, WINDOWS_AT_ONCE, window, sums);
}

#else

/* sums[f] += x . weights[f], each of four */
static void add_products(const uint8_t *x, const int8_t *weights, int count, int32_t *restrict sums)
{
    int x0 = x[0], x1 = x[1], x2 = x[2], x3 = x[3];
    for (int f = 0; f < count; f++) {
        const int8_t *w = weights + 4 * f;
        sums[f] += x0 * w[0] + x1 * w[1] + x2 * w[2] + x3 * w[3];
    }
}

/* The sums of `count` filters, from `first` on, over each of `windows` windows, or the largest of those that are pooled. */
static void dense_sums(const struct dense *d, int first, int count, const uint8_t *const window[], int windows,
                       int32_t sums[][FILTERS_AT_ONCE])
{
    for (int i = 0; i < windows; i++) {
        const int8_t *weights = (const int8_t *)d->c.weights + 4 * first;
        memset(sums[i], 0, (size_t)count * sizeof sums[i][0]);
        for (int row = 0; row < d->c.window_height; row++) {
            const uint8_t *x = window[i] + row * d->c.in_row;
            for (int quad = 0; quad < d->quads; quad++, x += 4, weights += d->quad_step)
                add_products(x, weights, count, sums[i]);
        }
        for (int f = 0; f < count && d->c.pool == 2; f++)
            sums[0][f] = sums[i][f] > sums[0][f] ? sums[i][f] : sums[0][f];
    }
}

#endif

/* Four positions that are pooled: rescaling never turns an order round, so the largest sum is the largest output. */
static SPECIALIZED void dense_pooled(const struct dense *d, int first, int count, const uint8_t *in, uint8_t *out)
{
    const struct convolution *c = &d->c;
    int32_t sums[WINDOWS_AT_ONCE][FILTERS_AT_ONCE];
    for (int y = 0; y < c->height; y++)
        for (int x = 0; x < c->width; x++) {
            const uint8_t *corner = in + 2 * y * c->down + 2 * x * c->right;
            const uint8_t *const window[] = {corner, corner + c->right, corner + c->down, corner + c->down + c->right};
            dense_sums(d, first, count, window, WINDOWS_AT_ONCE, sums);
            store(c, first, count, sums[0], out + y * c->out_row + x * c->out_column);
        }
}

/* Neighbours along a row, up to four at once. */
static SPECIALIZED void dense_unpooled(const struct dense *d, int first, int count, const uint8_t *in, uint8_t *out)
{
    const struct convolution *c = &d->c;
    int32_t sums[WINDOWS_AT_ONCE][FILTERS_AT_ONCE];
    for (int y = 0; y < c->height; y++)
        for (int x = 0; x < c->width; x += WINDOWS_AT_ONCE) {
            int windows = c->width - x < WINDOWS_AT_ONCE ? c->width - x : WINDOWS_AT_ONCE;
            const uint8_t *window[WINDOWS_AT_ONCE];
            for (int i = 0; i < WINDOWS_AT_ONCE; i++)
                window[i] = in + y * c->down + (x + (i < windows ? i : 0)) * c->right;
            dense_sums(d, first, count, window, windows, sums);
            for (int i = 0; i < windows; i++)
                store(c, first, count, sums[i], out + y * c->out_row + (x + i) * c->out_column);
        }
}

static SPECIALIZED void convolve_filters(const struct dense *d, int first, int count, const uint8_t *in, uint8_t *out)
{
    if (d->c.pool == 2)
        dense_pooled(d, first, count, in, out);
    else
        dense_unpooled(d, first, count, in, out);
}

static SPECIALIZED void convolve_dense(const struct dense *d, const uint8_t *in, uint8_t *out)
{
    const int rest = d->c.filters % FILTERS_AT_ONCE, whole = d->c.filters - rest;
    for (int first = 0; first < whole; first += FILTERS_AT_ONCE)
        convolve_filters(d, first, FILTERS_AT_ONCE, in, out);
    if (rest)
        convolve_filters(d, whole, rest, in, out);
}
