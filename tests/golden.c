/* Runs the cases that Python wrote through a generated model: golden FILE. Exits 1 at the first that differs.
 *
 * FILE: per case the pixels, then the scores. Compile with the folder of model.h and model.c; the name is `model`. */

#include <stdio.h>
#include <string.h>

#include "model.h"

enum { PIXELS = MODEL_HEIGHT * MODEL_WIDTH * MODEL_CHANNELS, GUARD = 64, PATTERN = 0xA5 };

static uint32_t memory[MODEL_ARENA_BYTES / 4 + 2 * GUARD]; /* the arena, and a guard on either side */
static model_pixel pixels[PIXELS];
static model_score scores[MODEL_SCORES], expected[MODEL_SCORES];

static int fails(const char *what, int number)
{
    fprintf(stderr, "case %d: %s\n", number, what);
    return 1;
}

/* Arenas that do not do are refused, and nothing is written. */
static int refusals_fail(void)
{
    uint8_t *arena = (uint8_t *)(memory + GUARD);
    memset(memory, PATTERN, sizeof memory);
    memset(scores, PATTERN, sizeof scores);
    if (model_predict(pixels, arena, MODEL_ARENA_BYTES - 1, scores) != MODEL_ARENA_TOO_SMALL)
        return fails("too small an arena is accepted", -1);
    if (model_predict(pixels, arena + 1, MODEL_ARENA_BYTES + 64, scores) != MODEL_ARENA_MISALIGNED)
        return fails("a misaligned arena is accepted", -1);
    if (model_predict(pixels, NULL, MODEL_ARENA_BYTES, scores) != MODEL_NULL_POINTER)
        return fails("no arena is accepted", -1);
    for (size_t i = 0; i < sizeof memory; i++)
        if (((uint8_t *)memory)[i] != PATTERN)
            return fails("a refused call wrote", -1);
    return 0;
}

static int guards_are_whole(void)
{
    const uint8_t *bytes = (const uint8_t *)memory;
    size_t arena = sizeof(uint32_t) * GUARD, end = arena + MODEL_ARENA_BYTES;
    for (size_t i = 0; i < sizeof memory; i++)
        if ((i < arena || i >= end) && bytes[i] != PATTERN)
            return 0;
    return 1;
}

int main(int count, char **arguments)
{
    FILE *file = count == 2 ? fopen(arguments[1], "rb") : NULL;
    if (!file)
        return fails("no file", -1);
    if (refusals_fail())
        return 1;
    for (int number = 0; fread(pixels, sizeof pixels, 1, file) == 1; number++) {
        if (fread(expected, sizeof expected, 1, file) != 1)
            return fails("cut short", number);
        if (model_predict(pixels, memory + GUARD, MODEL_ARENA_BYTES, scores) != MODEL_OK)
            return fails("refused", number);
        if (memcmp(scores, expected, sizeof scores) != 0)
            return fails("other scores than LiteRT's", number);
        if (!guards_are_whole())
            return fails("wrote outside of the arena", number);
    }
    fclose(file);
    return 0;
}
