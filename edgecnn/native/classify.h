/* From the content of a file to the probabilities of the classes, as the model's input contract says.
 *
 * Needs about.h, and memcpy. */

#ifndef EDGECNN_CLASSIFY_H
#define EDGECNN_CLASSIFY_H

#include "image.h"
#if MODEL_TAKES_DIGITS
#include "digit.h"
#endif

/* Bring a picture, rows from the top and red first, to what the model takes; what is no picture is that already. */
static void encode(const uint8_t *pixels, model_pixel *input)
{
#if MODEL_TAKES_PICTURES
    for (int row = 0; row < MODEL_HEIGHT; row++)
        for (int column = 0; column < MODEL_WIDTH; column++)
            for (int channel = 0; channel < MODEL_CHANNELS; channel++)
                input[model_place(row, column, channel)] = model_encode(*pixels++, channel);
#else
    memcpy(input, pixels, PIXELS);
#endif
}

static int predict_scores(const model_pixel *input, model_score *scores)
{
    static uint32_t arena[(MODEL_ARENA_BYTES + 3) / 4 + MODEL_ARENA_ALIGNMENT / 4];
    uint8_t *start = (uint8_t *)arena;
    start += (MODEL_ARENA_ALIGNMENT - (uintptr_t)start % MODEL_ARENA_ALIGNMENT) % MODEL_ARENA_ALIGNMENT;
    return model_predict(input, start, MODEL_ARENA_BYTES, scores) == MODEL_OK;
}

/* Whether scores that are said to be probabilities are none: the limits are those of Python's predictor. */
static int are_no_probabilities(const model_score *scores)
{
    struct model_tensor output = model_output();
    double least = 0, sum = 0;
    for (int i = 0; i < MODEL_SCORES; i++) {
        double real = (scores[i] - output.zero_point) * (double)output.scale;
        least = real < least ? real : least;
        sum += real;
    }
    return !MODEL_GIVES_LOGITS && (least < -0.01 || sum <= 0.9 || sum >= 1.1); /* integers add up to 1 nearly */
}

/* Classify what `pixels` hold, turned over if they are a digit black on white; return what is wrong, or NULL. */
static const char *classify(uint8_t *pixels, float *probabilities)
{
    static model_pixel input[PIXELS];
    static model_score scores[MODEL_SCORES];
    const char *wrong = NULL;
#if MODEL_TAKES_DIGITS
    wrong = become_mnist(pixels);
#endif
    if (wrong)
        return wrong;
    encode(pixels, input);
    if (!predict_scores(input, scores))
        return "is refused by the model";
    if (are_no_probabilities(scores))
        return "has scores that are no probabilities; export the model again with --logits";
    model_probabilities(scores, probabilities);
    return NULL;
}

/* The class with the largest probability, the first of equal ones. */
static int most_likely(const float *probabilities)
{
    int best = 0;
    for (int i = 1; i < MODEL_SCORES; i++)
        best = probabilities[i] > probabilities[best] ? i : best;
    return best;
}

#endif
