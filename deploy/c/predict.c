/* An example of a program around a model in C, with the C library's own functions: predict digit.pgm ...
 *
 * Prints file, label and probability, tab-separated. The model is made by edgecnn export --format c. How a file becomes
 * what the model takes stands in classify.h, and is the same in the program that edgecnn build makes. Exit codes: 0
 * done; 2 an image that cannot be read or is not what the model takes. */

#include <stdio.h>
#include <string.h>

#include "model.h"

enum { PIXELS = MODEL_HEIGHT * MODEL_WIDTH * MODEL_CHANNELS };

#include "classify.h"

static int complain(const char *name, const char *wrong, const char *expected)
{
    fprintf(stderr, "error: %s: %s%s\n", name, wrong, expected);
    return 2;
}

/* Return the exit code of an image. */
static int predict(const char *name)
{
    static uint8_t content[IMAGE_BYTES_MOST], pixels[PIXELS];
    static float probabilities[MODEL_SCORES];
    FILE *file = fopen(name, "rb");
    if (!file)
        return complain(name, "cannot be opened", "");
    size_t bytes = fread(content, 1, sizeof content, file);
    fclose(file);
    const char *wrong = read_image(content, bytes, pixels);
    if (wrong)
        return complain(name, wrong, "; expected " IMAGE_EXPECTED);
    if ((wrong = classify(pixels, probabilities)))
        return complain(name, wrong, "");
    int best = most_likely(probabilities);
    printf("%s\t%s\t%.3f\n", name, model_label(best), probabilities[best]);
    return 0;
}

int main(int count, char **names)
{
    if (count < 2) {
        fprintf(stderr, "usage: predict FILE ...: " IMAGE_EXPECTED "\n");
        return 2;
    }
    if (*MODEL_ASSUMED)
        fprintf(stderr, "warning: assumed: %s; say so to edgecnn export\n", MODEL_ASSUMED);
    for (int i = 1, code; i < count; i++)
        if ((code = predict(names[i])))
            return code;
    return 0;
}
