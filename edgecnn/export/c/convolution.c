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
    uint8_t is_left;                           /* 1: one of the shifts is to the left */
    uint8_t zero, low, high;                   /* of the output: its zero point, and where its activation cuts */
};

/* The activation of one filter. */
static inline uint8_t activation(const struct convolution *c, int filter, int32_t sum)
{
    int32_t multiplier = c->multiplier[filter];
    int shift = c->shift[filter];
    int32_t value = c->rounds_once ? rescaled_once(sum, multiplier, shift) : rescaled(sum, multiplier, shift);
    return (uint8_t)limited(c->zero + value, c->low, c->high);
}

#if defined(HAS_VECTORS)

/* Activations from sums, of a vector of filters from `filter` on. */
static SPECIALIZED void store_vector(const struct convolution *c, lanes sums, lanes bias, lanes multiplier, lanes shift,
                                     uint8_t *stored)
{
    lanes value = rescaled_lanes(sum_of(sums, bias), multiplier, shift, c->is_left);
    store_bytes(limited_lanes(sum_of(value, lanes_of(c->zero)), c->low, c->high), stored);
}

#endif

/* Turn the sums of filters `first` to `first + count` at one position, still without their biases, into activations. */
static SPECIALIZED void store(const struct convolution *c, int first, int count, const int32_t *sums, uint8_t *out)
{
    uint8_t room[FILTERS_AT_ONCE], *stored = room;
    int done = 0;
#if defined(HAS_VECTORS)
    const int rest = count % LANES;
    if (c->out_channel == 1 && rest == 0)
        stored = out + first;
    if (!c->rounds_once) {
        for (; done < count - rest; done += LANES) {
            int f = first + done;
            store_vector(c, lanes_at(sums + done), lanes_at(c->bias + f), lanes_at(c->multiplier + f),
                         lanes_of_bytes(c->shift + f), stored + done);
        }
#if defined(HAS_PARTS)
        if (rest) {
            int f = first + done;
            int8_t shift[LANES] = {0};
            memcpy(shift, c->shift + f, (size_t)rest);
            store_vector(c, lanes_at(sums + done), lanes_of_first(c->bias + f, rest),
                         lanes_of_first(c->multiplier + f, rest), lanes_of_bytes(shift), stored + done);
            done = count;
        }
#endif
    }
#endif
    for (; done < count; done++)
        stored[done] = activation(c, first + done, sums[done] + c->bias[first + done]);
    if (stored != room)
        return;
    if (c->out_channel == 1)
        memcpy(out + first, room, (size_t)count);
    else
        for (int f = 0; f < count; f++)
            out[(first + f) * c->out_channel] = room[f];
}
