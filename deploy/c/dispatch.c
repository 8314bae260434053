/* The model in several families of instructions, in one library: which one runs is decided when it runs.
 *
 * model.c is compiled once for each family of the machine, with -DFAMILY=its name and the compiler's flags for it, and
 * this file with -DWITH_ and the names of those that are there; `make libmodel.so` shows it. This file is the build for
 * every processor of the machine, and has the constants. What the library offers is what model.h declares: what else
 * is in it is hidden. -DNAME=digit: the name that the model was exported with, if it is not `model`. */

#define FAMILY baseline
#define HOLDS_CONSTANTS
#include "model.c"

#if defined(WITH_dotprod)
#include <sys/auxv.h>
#define HAS_DOT_PRODUCT (1ul << 20) /* HWCAP_ASIMDDP of asm/hwcap.h, which old headers lack */
#endif

#if !defined(NAME)
#define NAME model
#endif
#define API_OF(name, what) name##_##what
#define API_NAMED(name, what) API_OF(name, what)
#define API(what) API_NAMED(NAME, what)

typedef __typeof__(API(predict)) predict;
extern __attribute__((visibility("hidden"))) predict IN_FAMILY(API(predict), avx2), IN_FAMILY(API(predict), avx512vnni),
    IN_FAMILY(API(predict), dotprod);

/* Asked anew each time, which takes a few nanoseconds: nothing is kept between calls. */
static predict *fastest(void)
{
#if defined(WITH_avx512vnni) || defined(WITH_avx2)
    __builtin_cpu_init(); /* for a program without the C library's start; elsewhere it has been done */
#endif
#if defined(WITH_avx512vnni)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vnni"))
        return IN_FAMILY(API(predict), avx512vnni);
#endif
#if defined(WITH_avx2)
    if (__builtin_cpu_supports("avx2"))
        return IN_FAMILY(API(predict), avx2);
#endif
#if defined(WITH_dotprod)
    if (getauxval(AT_HWCAP) & HAS_DOT_PRODUCT)
        return IN_FAMILY(API(predict), dotprod);
#endif
    return PREDICT;
}

enum API(status) API(predict)(const API(pixel) *pixels, void *arena, size_t arena_bytes, API(score) *scores)
{
    return fastest()(pixels, arena, arena_bytes, scores);
}
