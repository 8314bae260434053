/* The mean of the int8 values, rounded to nearest, halves away from zero: so it must be done on them, not on ours. */
static int32_t average(const struct pooling *p, const struct area *a, const uint8_t *in)
{
    int32_t count = (a->bottom - a->top) * (a->right - a->left), sum = -128 * count;
    for (int y = a->top; y < a->bottom; y++)
        for (int x = a->left; x < a->right; x++)
            sum += in[y * p->in_row + x * p->in_column];
    return 128 + (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
}

static void average_pool(const struct pooling *p, const uint8_t *in, uint8_t *out)
{
    for (int y = 0; y < p->height; y++)
        for (int x = 0; x < p->width; x++) {
            struct area area = area_at(p, y, x);
            for (int channel = 0; channel < p->channels; channel++)
                out[y * p->out_row + x * p->out_column + channel] =
                    (uint8_t)limited(average(p, &area, in + channel), p->low, p->high);
        }
}
