/* The mean over all positions. */

struct mean {
    int32_t multiplier; /* from a sum to the scale of the output, divided by the number of positions */
    int8_t shift;
    uint8_t in_zero, out_zero;
    uint16_t height, width, channels, in_row, in_column;
};

static void mean(const struct mean *m, const uint8_t *in, uint8_t *out)
{
    for (int channel = 0; channel < m->channels; channel++) {
        int32_t sum = 0;
        for (int y = 0; y < m->height; y++)
            for (int x = 0; x < m->width; x++)
                sum += in[channel + y * m->in_row + x * m->in_column] - m->in_zero;
        out[channel] = (uint8_t)limited(m->out_zero + rescaled(sum, m->multiplier, m->shift), 0, 255);
    }
}
