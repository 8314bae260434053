static int32_t largest(const struct pooling *p, const struct area *a, const uint8_t *in)
{
    int32_t most = 0;
    for (int y = a->top; y < a->bottom; y++)
        for (int x = a->left; x < a->right; x++) {
            int32_t value = in[y * p->in_row + x * p->in_column];
            most = value > most ? value : most;
        }
    return most;
}

static void max_pool(const struct pooling *p, const uint8_t *in, uint8_t *out)
{
    for (int y = 0; y < p->height; y++)
        for (int x = 0; x < p->width; x++) {
            struct area area = area_at(p, y, x);
            for (int channel = 0; channel < p->channels; channel++) {
                int32_t most = largest(p, &area, in + channel);
                out[y * p->out_row + x * p->out_column + channel] = (uint8_t)limited(most, p->low, p->high);
            }
        }
}
