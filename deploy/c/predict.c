/* Classifies PGM images of the size that the model takes: predict digit.pgm ...
 *
 * Prints file, label and score (0 to 255, the probability in 256ths), tab-separated. The model is made by
 * edgecnn export --format c. Exit codes: 0 done; 2 an image that cannot be read or is of another size. */

#include <ctype.h>
#include <stdio.h>

#include "model.h"

enum { PIXELS = MODEL_HEIGHT * MODEL_WIDTH * MODEL_CHANNELS };

/* The next number of a PGM header, behind white space and comments; -1 where there is none. */
static int header_number(FILE *file)
{
    int c = getc(file), number = 0, digits = 0;
    while (isspace(c) || c == '#') {
        while (c == '#')
            for (c = getc(file); c != '\n' && c != EOF;)
                c = getc(file);
        c = getc(file);
    }
    for (; isdigit(c) && digits < 6; c = getc(file), digits++)
        number = 10 * number + (c - '0');
    return digits && isspace(c) ? number : -1; /* that one white space belongs to the header */
}

/* Read a binary PGM of the model's size; return what is wrong with it, or NULL. */
static const char *read_pgm(const char *name, uint8_t *pixels)
{
    FILE *file = fopen(name, "rb");
    if (!file)
        return "cannot be opened";
    const char *wrong = NULL;
    if (getc(file) != 'P' || getc(file) != '5')
        wrong = "is no binary PGM (P5)";
    else if (header_number(file) != MODEL_WIDTH || header_number(file) != MODEL_HEIGHT)
        wrong = "is of another size than the model's";
    else if (header_number(file) != 255)
        wrong = "has another maximum than 255";
    else if (fread(pixels, 1, PIXELS, file) != PIXELS)
        wrong = "is cut short";
    fclose(file);
    return wrong;
}

static int largest(const int8_t *scores)
{
    int best = 0;
    for (int i = 1; i < MODEL_SCORES; i++)
        best = scores[i] > scores[best] ? i : best;
    return best;
}

int main(int count, char **names)
{
    static uint32_t arena[(MODEL_ARENA_BYTES + 3) / 4];
    static uint8_t pixels[PIXELS];
    int8_t scores[MODEL_SCORES];
    if (count < 2) {
        fprintf(stderr, "usage: predict digit.pgm ...\n");
        return 2;
    }
    for (int i = 1; i < count; i++) {
        const char *wrong = read_pgm(names[i], pixels);
        if (wrong) {
            fprintf(stderr, "%s: %s; expected a PGM of %d x %d\n", names[i], wrong, MODEL_WIDTH, MODEL_HEIGHT);
            return 2;
        }
        if (model_predict(pixels, arena, sizeof arena, scores) != MODEL_OK)
            return 2;
        int best = largest(scores);
        printf("%s\t%s\t%d\n", names[i], model_label(best), scores[best] + 128);
    }
    return 0;
}
