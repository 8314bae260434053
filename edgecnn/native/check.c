/* Runs the cases that Python wrote through the model: check FILE. Exits 1, saying why, at the first that differs.
 *
 * FILE: per case the pixels as the model takes them, then the scores. Around the arena lies memory that must not change. */

#include "about.h"
#include "system.h"

enum { GUARD = 64 + MODEL_ARENA_ALIGNMENT / 4, WORDS = (MODEL_ARENA_BYTES + 3) / 4 + 2 * GUARD, PATTERN = 0xA5 };

static uint32_t memory[WORDS];
static model_pixel pixels[PIXELS];
static model_score scores[MODEL_SCORES], expected[MODEL_SCORES];

static enum model_status classify(void *arena, size_t bytes)
{
    return model_predict(pixels, arena, bytes, scores);
}

static uint8_t *arena_start(void)
{
    uint8_t *start = (uint8_t *)(memory + 64);
    return start + (MODEL_ARENA_ALIGNMENT - (uintptr_t)start % MODEL_ARENA_ALIGNMENT) % MODEL_ARENA_ALIGNMENT;
}

static int fails(const char *what)
{
    print(TO_COMPLAIN, what);
    print(TO_COMPLAIN, "\n");
    return 1;
}

/* Whether nothing outside of the arena, `bytes` long, was written. */
static int guards_are_whole(size_t bytes)
{
    const uint8_t *all = (const uint8_t *)memory;
    size_t start = (size_t)(arena_start() - all);
    for (size_t i = 0; i < sizeof memory; i++)
        if ((i < start || i >= start + bytes) && all[i] != PATTERN)
            return 0;
    return 1;
}

/* Arenas that do not do are refused, and nothing is written. */
static int refusals_fail(void)
{
    uint8_t *arena = arena_start();
    if (classify(arena, MODEL_ARENA_BYTES - 1) != MODEL_ARENA_TOO_SMALL)
        return fails("too small an arena is accepted");
    if (classify(arena + 1, MODEL_ARENA_BYTES + 4) != MODEL_ARENA_MISALIGNED)
        return fails("a misaligned arena is accepted");
    if (classify(NULL, MODEL_ARENA_BYTES) != MODEL_NULL_POINTER)
        return fails("no arena is accepted");
    return guards_are_whole(0) ? 0 : fails("a refused call wrote");
}

static int program(int count, char **arguments)
{
    long file = count == 2 ? open_file(arguments[1]) : -1;
    if (file < 0)
        return fails("no file of cases");
    memset(memory, PATTERN, sizeof memory);
    if (refusals_fail())
        return 1;
    while (read_all(file, pixels, sizeof pixels) == (long)sizeof pixels) {
        if (read_all(file, expected, sizeof expected) != (long)sizeof expected)
            return fails("the file of cases is cut short");
        if (classify(arena_start(), MODEL_ARENA_BYTES) != MODEL_OK)
            return fails("a case is refused");
        if (memcmp(scores, expected, sizeof scores) != 0)
            return fails("other scores than expected");
        if (!guards_are_whole(MODEL_ARENA_BYTES))
            return fails("something is written outside of the arena");
    }
    return 0;
}
