/* Classifies images of the size that the model takes: predict digit.pgm ...
 *
 * Prints file, label and the label's score as a real number (a probability, where the model ends in softmax),
 * tab-separated. Exit codes: 0 done; 2 an image that cannot be read or is of another size. "-" is standard input. */

#include "about.h"
#include "image.h"
#include "system.h"

static uint32_t arena[(MODEL_ARENA_BYTES + 3) / 4 + MODEL_ARENA_ALIGNMENT / 4];

/* A number as text, at the end of a buffer of 16 characters; return where it begins. */
static char *as_text(uint32_t number, char *end, int digits)
{
    *--end = '\0';
    for (; number || digits > 0; digits--) {
        *--end = (char)('0' + number % 10);
        number /= 10;
    }
    return end;
}

/* Three digits behind the point, rounded half up. */
static void print_real(float value)
{
    char buffer[16];
    uint32_t thousandths = (uint32_t)((value < 0 ? -value : value) * 1000 + 0.5f);
    print(TO_PRINT, value < 0 && thousandths ? "-" : "");
    print(TO_PRINT, as_text(thousandths / 1000, buffer + sizeof buffer, 1));
    print(TO_PRINT, ".");
    print(TO_PRINT, as_text(thousandths % 1000, buffer + sizeof buffer, 3));
}

/* Bring pixels to what the model takes, in place: those of int8 are quantized, round(pixel / 255 / scale) + zero_point. */
static void quantize(uint8_t *pixels)
{
    struct model_tensor input = model_input();
    for (int i = 0; MODEL_PIXELS_ARE_INT8 && i < PIXELS; i++) {
        int value = (int)((float)pixels[i] / (255 * input.scale) + 0.5f) + input.zero_point;
        pixels[i] = (uint8_t)(value > 127 ? 127 : value);
    }
}

static enum model_status classify(const uint8_t *pixels, int8_t *scores)
{
    uint8_t *start = (uint8_t *)arena;
    start += (MODEL_ARENA_ALIGNMENT - (uintptr_t)start % MODEL_ARENA_ALIGNMENT) % MODEL_ARENA_ALIGNMENT;
    return model_predict((const model_pixel *)pixels, start, MODEL_ARENA_BYTES, scores);
}

static int largest(const int8_t *scores)
{
    int best = 0;
    for (int i = 1; i < MODEL_SCORES; i++)
        best = scores[i] > scores[best] ? i : best;
    return best;
}

static void print_result(const char *name, const int8_t *scores)
{
    char buffer[16];
    int best = largest(scores);
    const char *label = model_label(best);
    struct model_tensor output = model_output();
    print(TO_PRINT, name);
    print(TO_PRINT, "\t");
    print(TO_PRINT, *label ? label : as_text((uint32_t)best, buffer + sizeof buffer, 1));
    print(TO_PRINT, "\t");
    print_real(output.scale * (float)(scores[best] - output.zero_point));
    print(TO_PRINT, "\n");
}

static const char *predict(const char *name)
{
    static uint8_t content[IMAGE_BYTES_MOST], pixels[PIXELS];
    int8_t scores[MODEL_SCORES];
    long file = name[0] == '-' && !name[1] ? TO_READ : open_file(name);
    long bytes = file < 0 ? file : read_all(file, content, sizeof content);
    const char *wrong = bytes < 0 ? "cannot be read" : read_image(content, (size_t)bytes, pixels);
    if (wrong)
        return wrong;
    quantize(pixels);
    if (classify(pixels, scores) != MODEL_OK)
        return "is refused by the model";
    print_result(name, scores);
    return NULL;
}

static int program(int count, char **arguments)
{
    char buffer[16];
    if (count < 2) {
        print(TO_COMPLAIN, "usage: predict IMAGE ...\n");
        return 2;
    }
    for (int i = 1; i < count; i++) {
        const char *wrong = predict(arguments[i]);
        if (!wrong)
            continue;
        print(TO_COMPLAIN, "error: ");
        print(TO_COMPLAIN, arguments[i]);
        print(TO_COMPLAIN, ": ");
        print(TO_COMPLAIN, wrong);
        print(TO_COMPLAIN, "; expected a PGM, or pixels alone, of ");
        print(TO_COMPLAIN, as_text(MODEL_WIDTH, buffer + sizeof buffer, 1));
        print(TO_COMPLAIN, "x");
        print(TO_COMPLAIN, as_text(MODEL_HEIGHT, buffer + sizeof buffer, 1));
        print(TO_COMPLAIN, "\n");
        return 2;
    }
    return 0;
}
