/* What benchmarks/c.py measures: a model in C, run as it is asked to.
 *
 *   count N       N inferences of one image, for instructions to be counted
 *   time N        the nanoseconds of each of N inferences, a line each
 *   scores FILE   the scores of each image of FILE, as bytes on stdout */

#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "model.h"

static uint32_t arena[(MODEL_ARENA_BYTES + 3) / 4];
static uint8_t pixels[MODEL_HEIGHT * MODEL_WIDTH * MODEL_CHANNELS];
static int8_t scores[MODEL_SCORES];

static void predict(void)
{
    if (model_predict(pixels, arena, sizeof arena, scores) != MODEL_OK)
        exit(1);
}

static long long now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static int write_scores(const char *name)
{
    FILE *file = fopen(name, "rb");
    if (!file)
        return 1;
    while (fread(pixels, sizeof pixels, 1, file) == 1) {
        predict();
        fwrite(scores, sizeof scores, 1, stdout);
    }
    return fclose(file);
}

int main(int count, char **words)
{
    if (count != 3)
        return 2;
    if (strcmp(words[1], "scores") == 0)
        return write_scores(words[2]);
    for (unsigned i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 37 % 251);
    for (int n = atoi(words[2]); n > 0; n--) {
        long long before = now_ns();
        predict();
        if (strcmp(words[1], "time") == 0)
            printf("%lld\n", now_ns() - before);
    }
    return 0;
}
