/* Convolutions and dense layers; a dense layer is a convolution whose window is all of its input.
 *
 * Activations are stored as uint8: the int8 value of the .tflite file and 128. A window never leaves its input: where
 * the file pads, the tensor has a border that holds its zero point. */

enum { FILTERS_AT_ONCE = 32, WINDOWS_AT_ONCE = 4 };

struct convolution {
    const void *weights;       /* in the order of the kernel that reads them */
    const int32_t *bias;       /* [filters], with what the zero point of the input adds to each sum taken off */
    const int32_t *multiplier; /* [filters], and */
    const int8_t *shift;       /* [filters]: from a sum to the scale of the output */
    uint16_t filters;
    uint16_t window_height, window_width, channels;
    uint16_t in_row, in_column, in_channel;    /* bytes from one to the next */
    uint16_t down, right;                      /* bytes from window to window: the strides */
    uint16_t height, width;                    /* of the output, after pooling */
    uint16_t out_row, out_column, out_channel; /* bytes */
    uint8_t pool;                              /* 2: the largest of 2x2 positions is kept; 1: every position is */
    uint8_t rounds_once;                       /* 1: a FULLY_CONNECTED of the file, which rounds otherwise */
    uint8_t zero, low, high;                   /* of the output: its zero point, and where its activation cuts */
};

/* Turn the sums of filters `first` to `first + count` at one position into activations. */
static inline void store(const struct convolution *c, int first, int count, const int32_t *sums, uint8_t *out)
{
    const int32_t *multiplier = c->multiplier + first;
    const int8_t *shift = c->shift + first;
    uint8_t stored[FILTERS_AT_ONCE];
    if (c->rounds_once)
        for (int f = 0; f < count; f++)
            stored[f] = (uint8_t)limited(c->zero + rescaled_once(sums[f], multiplier[f], shift[f]), c->low, c->high);
    else
        for (int f = 0; f < count; f++)
            stored[f] = (uint8_t)limited(c->zero + rescaled(sums[f], multiplier[f], shift[f]), c->low, c->high);
    for (int f = 0; f < count; f++)
        out[(first + f) * c->out_channel] = stored[f];
}
