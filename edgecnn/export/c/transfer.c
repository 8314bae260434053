/* Copy rows into or out of the arena; `flip` is 0x80 between int8 and the uint8 that stands for it, else 0. */
static inline void transfer(const uint8_t *in, int in_row, uint8_t *out, int out_row, int rows, int row_bytes,
                            uint8_t flip)
{
    for (int y = 0; y < rows; y++, in += in_row, out += out_row)
        if (flip)
            for (int i = 0; i < row_bytes; i++)
                out[i] = in[i] ^ flip;
        else
            memcpy(out, in, (size_t)row_bytes);
}
