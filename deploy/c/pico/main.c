/* A model in C on a microcontroller without an operating system: reads one picture, says what digit it is.
 *
 * For the Raspberry Pi Pico (RP2040, Cortex-M0+), loaded into its memory over a debug probe, and for Arm's MPS2 board
 * (Cortex-M3), which QEMU emulates. What it says goes through semihosting: the debugger, or QEMU, prints it. A program
 * of your own takes `pixels` from a camera or a sensor instead; there is nothing else to change. */

#include "model.h"

#include <string.h>

/* The picture: a PGM, whose header is 13 bytes long. */
__asm__(".section .rodata\n"
        "picture: .incbin \"" PICTURE "\", 13\n"
        ".text\n");
extern const uint8_t picture[MODEL_HEIGHT * MODEL_WIDTH * MODEL_CHANNELS];

static uint32_t arena[(MODEL_ARENA_BYTES + 3) / 4];

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
    *start = '\0';
    do {
        *--start = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    say(start);
}

static int largest(const int8_t *scores)
{
    int best = 0;
    for (int i = 1; i < MODEL_SCORES; i++)
        best = scores[i] > scores[best] ? i : best;
    return best;
}

/* Prints label and score, 0 to 255, the probability in 256ths; 0, or 1 when the model refuses the call. */
static int classify(void)
{
    int8_t scores[MODEL_SCORES];
    if (model_predict(picture, arena, sizeof arena, scores) != MODEL_OK)
        return 1;
    int best = largest(scores);
    say(model_label(best));
    say("\t");
    say_number(scores[best] + 128);
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
