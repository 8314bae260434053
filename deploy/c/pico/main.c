/* A model in C on a microcontroller without an operating system: reads one picture, says what digit it is.
 *
 * For the Raspberry Pi Pico (RP2040, Cortex-M0+), loaded into its memory over a debug probe, and for Arm's MPS2 board
 * (Cortex-M3), which QEMU emulates. What it says goes through semihosting: the debugger, or QEMU, prints it. A program
 * of your own takes `picture` from a camera or a sensor instead, in the form that the head of model.h says: for a digit
 * that is MNIST's, white ink on black; there is nothing else to change. */

#include "model.h"

#include <string.h>

#if !MODEL_TAKES_PICTURES
#error this example gives the model a picture, which it does not take: give model_predict its values
#endif

/* The picture: a PGM, whose header is 13 bytes long. */
__asm__(".section .rodata\n"
        "picture: .incbin \"" PICTURE "\", 13\n"
        ".text\n");
extern const uint8_t picture[MODEL_HEIGHT * MODEL_WIDTH * MODEL_CHANNELS];

static uint32_t arena[(MODEL_ARENA_BYTES + 3) / 4];
static model_pixel input[MODEL_HEIGHT * MODEL_WIDTH * MODEL_CHANNELS];

/* Arm's semihosting: the debugger sees the breakpoint and does what r0 asks for with what r1 says. */
static int ask(int what, const void *with)
{
    register int number __asm__("r0") = what;
    register const void *argument __asm__("r1") = with;
    __asm__ volatile("bkpt 0xAB" : "+r"(number) : "r"(argument) : "memory");
    return number;
}

enum { WRITE_TEXT = 0x04, EXIT_WITH_CODE = 0x20, APPLICATION_EXIT = 0x20026 };

static void say(const char *text)
{
    ask(WRITE_TEXT, text);
}

static void say_number(int number)
{
    char digits[12], *start = digits + sizeof digits - 1;
    unsigned rest = number < 0 ? 0u - (unsigned)number : (unsigned)number;
    *start = '\0';
    do {
        *--start = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (number < 0)
        *--start = '-';
    say(start);
}

static int largest(const model_score *scores)
{
    int best = 0;
    for (int i = 1; i < MODEL_SCORES; i++)
        best = scores[i] > scores[best] ? i : best;
    return best;
}

/* Bring the picture, rows from the top and red first, to what the model takes. */
static void encode(void)
{
    const uint8_t *pixel = picture;
    for (int row = 0; row < MODEL_HEIGHT; row++)
        for (int column = 0; column < MODEL_WIDTH; column++)
            for (int channel = 0; channel < MODEL_CHANNELS; channel++)
                input[model_place(row, column, channel)] = model_encode(*pixel++, channel);
}

/* Prints label and score in steps of the output's scale (probabilities: mostly 256ths); 0, or 1 for a refused call. */
static int classify(void)
{
    model_score scores[MODEL_SCORES];
    encode();
    if (model_predict(input, arena, sizeof arena, scores) != MODEL_OK)
        return 1;
    int best = largest(scores);
    say(model_label(best));
    say("\t");
    say_number(scores[best] - model_output().zero_point);
    say("\n");
    return 0;
}

extern uint32_t data_start[], data_end[], data_stored[], bss_start[], bss_end[], stack_top[];

/* Where the processor starts: variables get their values, then the program runs. */
void reset(void);
void reset(void)
{
    memcpy(data_start, data_stored, (size_t)((char *)data_end - (char *)data_start));
    memset(bss_start, 0, (size_t)((char *)bss_end - (char *)bss_start));
    const int ended[] = {APPLICATION_EXIT, classify()};
    ask(EXIT_WITH_CODE, ended);
    for (;;)
        ;
}

static void fault(void)
{
    for (;;)
        ;
}

/* The stack, then what to do at reset, a non-maskable interrupt and a hard fault: all that happens here. */
__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    void (*handlers[3])(void);
} vectors = {stack_top, {reset, fault, fault}};
