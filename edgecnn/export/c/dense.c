/* Dense kernel. Weights int8 [window height][quads][filters][4]: four neighbours along a row of the window lie
 * together, for they are multiplied at once; rows that are no multiple of four, and filters, are filled up with zeros.
 * Up to three bytes behind a row of the input are read, and multiplied by those zeros. */

struct dense {
    struct convolution c;
    uint16_t quads;     /* of a row of the window */
    uint16_t quad_step; /* bytes of weights from quad to quad */
};

#if defined(HAS_VECTORS)

/* The sums of up to VECTORS vectors of filters, from `at` on, over four windows. They stay in registers meanwhile, which
 * takes that `vectors` is a constant: it is one where this is inlined. */
static inline __attribute__((always_inline)) void sum_vectors(const struct dense *d, int first, int at, int count,
                                                              int vectors, const uint8_t *const window[],
                                                              int32_t sums[][FILTERS_AT_ONCE])
{
    const int8_t *weights = (const int8_t *)d->c.weights + 4 * (first + at);
    vector_sums s[WINDOWS_AT_ONCE][VECTORS];
    for (int i = 0; i < WINDOWS_AT_ONCE; i++)
        for (int v = 0; v < vectors; v++)
            s[i][v] = no_sums();
    for (int row = 0; row < d->c.window_height; row++) {
        int x_at = row * d->c.in_row;
        for (int quad = 0; quad < d->quads; quad++, x_at += 4, weights += d->quad_step) {
            vector_weights w[VECTORS];
            for (int v = 0; v < vectors; v++)
                w[v] = weights_at(weights + 4 * v * VECTOR_FILTERS, count - v * VECTOR_FILTERS);
            for (int i = 0; i < WINDOWS_AT_ONCE; i++) {
                vector_inputs x = inputs_at(window[i] + x_at);
                for (int v = 0; v < vectors; v++)
                    s[i][v] = add_vector(s[i][v], x, w[v]);
            }
        }
    }
    for (int i = 0; i < WINDOWS_AT_ONCE; i++)
        for (int v = 0; v < vectors; v++)
            store_sums(s[i][v], sums[i] + at + v * VECTOR_FILTERS);
}

/* The sums of `count` filters, from `first` on, over each of `windows` windows, without the bias. */
static void dense_sums(const struct dense *d, int first, int count, const uint8_t *const window[], int windows,
                       int32_t sums[][FILTERS_AT_ONCE])
{
    /* Where there are fewer than four windows the first one is taken again, and those sums are not looked at. */
    const uint8_t *const four[WINDOWS_AT_ONCE] = {window[0], window[windows > 1 ? 1 : 0], window[windows > 2 ? 2 : 0],
                                                  window[windows > 3 ? 3 : 0]};
    int at = 0;
    for (; count - at > (VECTORS - 1) * VECTOR_FILTERS; at += VECTORS * VECTOR_FILTERS)
        sum_vectors(d, first, at, count - at, VECTORS, four, sums);
    for (; at < count; at += VECTOR_FILTERS)
        sum_vectors(d, first, at, count - at, 1, four, sums);
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

/* The sums of `count` filters, from `first` on, over each of `windows` windows, without the bias. */
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
    }
}

#endif

static void store_dense(const struct convolution *c, int first, int count, int32_t *sums, uint8_t *out)
{
    for (int f = 0; f < count; f++)
        sums[f] += c->bias[first + f];
    store(c, first, count, sums, out);
}

static void keep_largest(int count, int32_t sums[][FILTERS_AT_ONCE])
{
    for (int i = 1; i < WINDOWS_AT_ONCE; i++)
        for (int f = 0; f < count; f++)
            sums[0][f] = sums[i][f] > sums[0][f] ? sums[i][f] : sums[0][f];
}

/* Four positions that are pooled: rescaling never turns an order round, so the largest sum is the largest output. */
static void dense_pooled(const struct dense *d, int first, int count, const uint8_t *in, uint8_t *out)
{
    const struct convolution *c = &d->c;
    int32_t sums[WINDOWS_AT_ONCE][FILTERS_AT_ONCE];
    for (int y = 0; y < c->height; y++)
        for (int x = 0; x < c->width; x++) {
            const uint8_t *corner = in + 2 * y * c->down + 2 * x * c->right;
            const uint8_t *const window[] = {corner, corner + c->right, corner + c->down, corner + c->down + c->right};
            dense_sums(d, first, count, window, WINDOWS_AT_ONCE, sums);
            keep_largest(count, sums);
            store_dense(c, first, count, sums[0], out + y * c->out_row + x * c->out_column);
        }
}

/* Neighbours along a row, up to four at once. */
static void dense_unpooled(const struct dense *d, int first, int count, const uint8_t *in, uint8_t *out)
{
    const struct convolution *c = &d->c;
    int32_t sums[WINDOWS_AT_ONCE][FILTERS_AT_ONCE];
    for (int y = 0; y < c->height; y++)
        for (int x = 0; x < c->width; x += WINDOWS_AT_ONCE) {
            int windows = c->width - x < WINDOWS_AT_ONCE ? c->width - x : WINDOWS_AT_ONCE;
            const uint8_t *window[WINDOWS_AT_ONCE];
            for (int i = 0; i < windows; i++)
                window[i] = in + y * c->down + (x + i) * c->right;
            dense_sums(d, first, count, window, windows, sums);
            for (int i = 0; i < windows; i++)
                store_dense(c, first, count, sums[i], out + y * c->out_row + (x + i) * c->out_column);
        }
}

static void convolve_dense(const struct dense *d, const uint8_t *in, uint8_t *out)
{
    for (int first = 0; first < d->c.filters; first += FILTERS_AT_ONCE) {
        int left = d->c.filters - first, count = left < FILTERS_AT_ONCE ? left : FILTERS_AT_ONCE;
        if (d->c.pool == 2)
            dense_pooled(d, first, count, in, out);
        else
            dense_unpooled(d, first, count, in, out);
    }
}
