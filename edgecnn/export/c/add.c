/* Addition of two tensors of one shape, each with a scale of its own: both are brought to a common one first. */

struct addend {
    uint16_t row; /* bytes from row to row */
    uint8_t zero;
    int8_t shift;
    int32_t multiplier;
};

struct addition {
    struct addend a, b, out; /* out: from the common scale to that of the output */
    uint16_t height, row_bytes;
    uint8_t low, high; /* where the activation cuts */
};

enum { ADDITION_BITS = 20 }; /* that the addends are shifted left by before they are rounded */

static int32_t to_common(const struct addend *a, int32_t x)
{
    return rescaled((x - a->zero) * (1 << ADDITION_BITS), a->multiplier, a->shift);
}

static void add(const struct addition *s, const uint8_t *a, const uint8_t *b, uint8_t *out)
{
    for (int y = 0; y < s->height; y++, a += s->a.row, b += s->b.row, out += s->out.row)
        for (int i = 0; i < s->row_bytes; i++) {
            int32_t sum = to_common(&s->a, a[i]) + to_common(&s->b, b[i]);
            int32_t value = s->out.zero + rescaled(sum, s->out.multiplier, s->out.shift);
            out[i] = (uint8_t)limited(value, s->low, s->high);
        }
}
