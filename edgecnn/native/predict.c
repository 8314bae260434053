/* Classifies images of the size that the model takes: predict digit.pgm ...
 *
 * Prints file, label and the label's probability, tab-separated: the same that edgecnn predict prints. What the model
 * takes for a picture is done here too: a digit black on white is turned over, a network that has blue first is given it
 * first. Exit codes: 0 done; 2 an image that cannot be read or is not what the model takes. "-" is standard input. */

#include "about.h"
#include "system.h"

#include "classify.h"

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

/* Three digits behind the point, as Python's f"{value:.3f}": rounded, and of two as near to the even one. */
static void print_real(float value)
{
    char buffer[16];
    double exact = (value < 0 ? -value : value) * 1000.0; /* 24 bits times 10 */
    uint32_t thousandths = (uint32_t)exact;
    double rest = exact - thousandths;
    if (rest > 0.5 || (rest == 0.5 && thousandths % 2))
        thousandths++;
    print(TO_PRINT, value < 0 ? "-" : "");
    print(TO_PRINT, as_text(thousandths / 1000, buffer + sizeof buffer, 1));
    print(TO_PRINT, ".");
    print(TO_PRINT, as_text(thousandths % 1000, buffer + sizeof buffer, 3));
}

static void print_result(const char *name, const float *probabilities)
{
    char buffer[16];
    int best = most_likely(probabilities);
    const char *label = model_label(best);
    print(TO_PRINT, name);
    print(TO_PRINT, "\t");
    print(TO_PRINT, *label ? label : as_text((uint32_t)best, buffer + sizeof buffer, 1));
    print(TO_PRINT, "\t");
    print_real(probabilities[best]);
    print(TO_PRINT, "\n");
}

static int complain(const char *name, const char *wrong, const char *expected)
{
    print(TO_COMPLAIN, "error: ");
    print(TO_COMPLAIN, name);
    print(TO_COMPLAIN, ": ");
    print(TO_COMPLAIN, wrong);
    print(TO_COMPLAIN, expected);
    print(TO_COMPLAIN, "\n");
    return 2;
}

/* Return the exit code of an image. */
static int predict(const char *name)
{
    static uint8_t content[IMAGE_BYTES_MOST], pixels[PIXELS];
    static float probabilities[MODEL_SCORES];
    long file = name[0] == '-' && !name[1] ? TO_READ : open_file(name);
    long bytes = file < 0 ? file : read_all(file, content, sizeof content);
    const char *wrong = bytes < 0 ? "cannot be read" : read_image(content, (size_t)bytes, pixels);
    if (wrong)
        return complain(name, wrong, "; expected " IMAGE_EXPECTED);
    if ((wrong = classify(pixels, probabilities)))
        return complain(name, wrong, "");
    print_result(name, probabilities);
    return 0;
}

static int program(int count, char **arguments)
{
    if (count < 2) {
        print(TO_COMPLAIN, "usage: predict FILE ...: " IMAGE_EXPECTED);
        print(TO_COMPLAIN, *MODEL_COLORS == 'B' ? "; the network is given blue first\n" : "\n");
        return 2;
    }
    if (*MODEL_ASSUMED)
        print(TO_COMPLAIN, "warning: assumed: " MODEL_ASSUMED "; say so to edgecnn export\n");
    for (int i = 1, code; i < count; i++)
        if ((code = predict(arguments[i])))
            return code;
    return 0;
}
