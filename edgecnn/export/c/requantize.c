/* Another scale or zero point for the same numbers. */

struct requantization {
    int32_t multiplier;
    int8_t shift;
    uint8_t in_zero, out_zero;
    uint16_t height, row_bytes, in_row, out_row;
};

static void requantize(const struct requantization *r, const uint8_t *in, uint8_t *out)
{
    for (int y = 0; y < r->height; y++, in += r->in_row, out += r->out_row)
        for (int i = 0; i < r->row_bytes; i++) {
            int32_t value = r->out_zero + rescaled(in[i] - r->in_zero, r->multiplier, r->shift);
            out[i] = (uint8_t)limited(value, 0, 255);
        }
}
