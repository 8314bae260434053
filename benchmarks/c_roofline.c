/* How fast this processor multiplies with AVX-512 VNNI: prints the nanoseconds of one vpdpbusd of 512 bits. */

#define _POSIX_C_SOURCE 199309L
#include <immintrin.h>
#include <stdio.h>
#include <time.h>

enum { CHAINS = 16, ROUNDS = 20000000 };

int main(void)
{
    __m512i x = _mm512_set1_epi8(1), sums[CHAINS] = {0};
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    for (int n = 0; n < ROUNDS; n++)
        _Pragma("GCC unroll 16") for (int i = 0; i < CHAINS; i++) {
            sums[i] = _mm512_dpbusd_epi32(sums[i], x, x);
            __asm__ volatile("" : "+v"(sums[i])); /* as it stands: nothing is left out */
        }
    clock_gettime(CLOCK_MONOTONIC, &after);
    double ns = (double)(after.tv_sec - before.tv_sec) * 1e9 + (double)(after.tv_nsec - before.tv_nsec);
    printf("%.4f\n", ns / ((double)ROUNDS * CHAINS));
    return 0;
}
