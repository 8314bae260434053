/* Pooling; windows are cut at the edges of the input, so that padding counts for nothing. */

struct pooling {
    uint16_t window_height, window_width, stride_y, stride_x;
    uint16_t above, beside; /* padding, in positions */
    uint16_t in_height, in_width, channels, in_row, in_column;
    uint16_t height, width, out_row, out_column;
    uint8_t low, high; /* where the activation cuts */
};

/* The part of a window that lies in the input. */
struct area {
    int top, bottom, left, right;
};

static struct area area_at(const struct pooling *p, int y, int x)
{
    int top = y * p->stride_y - p->above, left = x * p->stride_x - p->beside;
    int bottom = top + p->window_height, right = left + p->window_width;
    struct area area = {top < 0 ? 0 : top, bottom > p->in_height ? p->in_height : bottom,
                        left < 0 ? 0 : left, right > p->in_width ? p->in_width : right};
    return area;
}
