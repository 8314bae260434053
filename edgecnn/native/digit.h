/* Whether a picture of 28x28 gray levels is MNIST's already: what edgecnn/device/preprocessing/digit.py decides.
 *
 * That is white ink on nothing but black paper, within 20x20 pixels, its centre of mass near the middle. */

#ifndef EDGECNN_DIGIT_H
#define EDGECNN_DIGIT_H

#include <stdint.h>

enum { DIGIT_SIDE = 28, DIGIT_BOX = 20, DIGIT_PIXELS = DIGIT_SIDE * DIGIT_SIDE };

#define NO_INK "no ink on the paper"
#define NO_MNIST_DIGIT \
    "is no digit as MNIST has them; expected ink on nothing but paper, within 20x20 of its 28x28 pixels, its centre of " \
    "mass within 2.5 pixels of the middle; predict.pyz finds the digit in any picture"

/* Whether the ink of each row, or of each column, lies within the box and has its centre of mass near the middle.
 *
 * `step` is from one of them to the next, `along` from a pixel to the next in it. */
static int is_small_and_central(const uint8_t *ink, int step, int along)
{
    int32_t first = -1, last = -1, mass = 0, moment = 0;
    for (int place = 0; place < DIGIT_SIDE; place++) {
        int32_t sum = 0;
        for (int i = 0; i < DIGIT_SIDE; i++)
            sum += ink[place * step + i * along];
        if (sum && first < 0)
            first = place;
        if (sum)
            last = place;
        mass += sum;
        moment += place * sum;
    }
    int32_t twice_off = 2 * moment - DIGIT_SIDE * mass; /* from the middle, times the mass */
    return last - first < DIGIT_BOX && twice_off <= 5 * mass && -twice_off <= 5 * mass;
}

static int is_canonical(const uint8_t *ink)
{
    return is_small_and_central(ink, DIGIT_SIDE, 1) && is_small_and_central(ink, 1, DIGIT_SIDE);
}

/* Turn a picture over if it is black on white; return why it is no digit as MNIST has them, or NULL. */
static const char *become_mnist(uint8_t *pixels)
{
    int differ = 0;
    for (int i = 1; i < DIGIT_PIXELS; i++)
        differ |= pixels[i] != pixels[0];
    if (!differ)
        return NO_INK;
    if (is_canonical(pixels))
        return NULL;
    for (int i = 0; i < DIGIT_PIXELS; i++)
        pixels[i] = (uint8_t)(255 - pixels[i]);
    return is_canonical(pixels) ? NULL : NO_MNIST_DIGIT;
}

#endif
