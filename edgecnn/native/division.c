/* The division that 32-bit Arm processors without an instruction for it call, by the names of Arm's run-time ABI.
 *
 * Here, because the compiler's own (libgcc) is built for the processors that its maker has in mind: Debian's for armhf
 * holds instructions that armv6 does not know. Division by zero gives zero. */

#ifdef __arm__

#include <stdint.h>

/* Shift and subtract; the quotient in the lower half, the remainder in the upper: registers r0 and r1. */
uint64_t __aeabi_uidivmod(uint32_t number, uint32_t by);
uint64_t __aeabi_uidivmod(uint32_t number, uint32_t by)
{
    uint32_t quotient = 0, rest = number;
    int shift = 0;
    if (!by)
        return 0;
    while (shift < 31 && by << shift <= number >> 1)
        shift++;
    for (; shift >= 0; shift--)
        if (rest >= by << shift) {
            rest -= by << shift;
            quotient |= (uint32_t)1 << shift;
        }
    return (uint64_t)rest << 32 | quotient;
}

uint32_t __aeabi_uidiv(uint32_t number, uint32_t by);
uint32_t __aeabi_uidiv(uint32_t number, uint32_t by)
{
    return (uint32_t)__aeabi_uidivmod(number, by);
}

/* The quotient towards zero; the remainder has the sign of the number. */
uint64_t __aeabi_idivmod(int32_t number, int32_t by);
uint64_t __aeabi_idivmod(int32_t number, int32_t by)
{
    uint32_t n = number < 0 ? 0u - (uint32_t)number : (uint32_t)number, b = by < 0 ? 0u - (uint32_t)by : (uint32_t)by;
    uint64_t both = __aeabi_uidivmod(n, b);
    uint32_t quotient = (uint32_t)both, rest = (uint32_t)(both >> 32);
    quotient = (number < 0) != (by < 0) ? 0u - quotient : quotient;
    rest = number < 0 ? 0u - rest : rest;
    return (uint64_t)rest << 32 | quotient;
}

int32_t __aeabi_idiv(int32_t number, int32_t by);
int32_t __aeabi_idiv(int32_t number, int32_t by)
{
    return (int32_t)(uint32_t)__aeabi_idivmod(number, by);
}

#endif
