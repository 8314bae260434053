/* What the programs here need of an operating system: files by number, memory, a start and an end.
 *
 * With -DFREESTANDING, on Linux and the processors below, the kernel's own calls and no C library: a program of a few
 * kilobytes that runs on any such Linux. Else POSIX. A program defines `program` and includes this file once. */

#ifndef EDGECNN_SYSTEM_H
#define EDGECNN_SYSTEM_H

#include <stddef.h>
#include <stdint.h>

static int program(int count, char **arguments);

#ifdef FREESTANDING

#if defined(__x86_64__)

enum { CALL_READ = 0, CALL_WRITE = 1, CALL_OPEN_AT = 257, CALL_EXIT = 231 };

__asm__(".globl _start\n"
        "_start:\n"
        "    xor %ebp, %ebp\n"
        "    mov %rsp, %rdi\n"
        "    and $-16, %rsp\n"
        "    call started\n");

static long call(long number, long a, long b, long c, long d)
{
    long result;
    register long fourth __asm__("r10") = d;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth)
                     : "rcx", "r11", "memory");
    return result;
}

#elif defined(__aarch64__)

enum { CALL_READ = 63, CALL_WRITE = 64, CALL_OPEN_AT = 56, CALL_EXIT = 94 };

__asm__(".globl _start\n"
        "_start:\n"
        "    mov x29, #0\n"
        "    mov x30, #0\n"
        "    mov x0, sp\n"
        "    bl started\n");

static long call(long number, long a, long b, long c, long d)
{
    register long which __asm__("x8") = number;
    register long first __asm__("x0") = a;
    register long second __asm__("x1") = b;
    register long third __asm__("x2") = c;
    register long fourth __asm__("x3") = d;
    __asm__ volatile("svc #0" : "+r"(first) : "r"(which), "r"(second), "r"(third), "r"(fourth) : "memory");
    return first;
}

#elif defined(__ARM_EABI__)

enum { CALL_READ = 3, CALL_WRITE = 4, CALL_OPEN_AT = 322, CALL_EXIT = 248 };

void _start(void);
__attribute__((naked)) void _start(void)
{
    __asm__("mov r0, sp\n"
            "bl started\n");
}

static long call(long number, long a, long b, long c, long d)
{
    register long which __asm__("r7") = number;
    register long first __asm__("r0") = a;
    register long second __asm__("r1") = b;
    register long third __asm__("r2") = c;
    register long fourth __asm__("r3") = d;
    __asm__ volatile("svc #0" : "+r"(first) : "r"(which), "r"(second), "r"(third), "r"(fourth) : "memory");
    return first;
}

#else
#error no kernel calls for this processor: compile without -DFREESTANDING
#endif

/* The number of a file opened for reading, negative where it cannot be. */
static long open_file(const char *name)
{
    enum { FROM_CURRENT_FOLDER = -100 };
    return call(CALL_OPEN_AT, FROM_CURRENT_FOLDER, (long)name, 0, 0);
}

static long read_some(long file, void *into, size_t bytes)
{
    return call(CALL_READ, file, (long)into, (long)bytes, 0);
}

static long write_some(long file, const void *from, size_t bytes)
{
    return call(CALL_WRITE, file, (long)from, (long)bytes, 0);
}

/* What the kernel says of the machine, for dispatch.c: pairs of a type and a value behind the environment. */
static const unsigned long *auxiliary;

unsigned long getauxval(unsigned long type);
__attribute__((used)) unsigned long getauxval(unsigned long type)
{
    for (const unsigned long *pair = auxiliary; *pair; pair += 2)
        if (*pair == type)
            return pair[1];
    return 0;
}

/* The compiler calls these for copies; it must not make calls of them out of their own loops. */
#define LOOP __attribute__((used, optimize("no-tree-loop-distribute-patterns")))

LOOP void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    uint8_t *t = to;
    const uint8_t *f = from;
    for (size_t i = 0; i < bytes; i++)
        t[i] = f[i];
    return to;
}

LOOP void *memmove(void *to, const void *from, size_t bytes)
{
    uint8_t *t = to;
    const uint8_t *f = from;
    if (t <= f)
        for (size_t i = 0; i < bytes; i++)
            t[i] = f[i];
    else
        for (size_t i = bytes; i-- > 0;)
            t[i] = f[i];
    return to;
}

LOOP void *memset(void *to, int value, size_t bytes)
{
    uint8_t *t = to;
    for (size_t i = 0; i < bytes; i++)
        t[i] = (uint8_t)value;
    return to;
}

LOOP int memcmp(const void *one, const void *other, size_t bytes)
{
    const uint8_t *a = one, *b = other;
    for (size_t i = 0; i < bytes; i++)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return 0;
}

/* The kernel leaves on the stack: how many arguments there are, their addresses, 0, those of the environment, 0. */
void started(long *stack);
__attribute__((used)) void started(long *stack)
{
    long *environment = stack + 1 + stack[0] + 1;
    while (*environment)
        environment++;
    auxiliary = (const unsigned long *)(environment + 1);
    call(CALL_EXIT, program((int)stack[0], (char **)(stack + 1)), 0, 0, 0);
    for (;;)
        ;
}

#else

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static long open_file(const char *name)
{
    return open(name, O_RDONLY);
}

static long read_some(long file, void *into, size_t bytes)
{
    return read((int)file, into, bytes);
}

static long write_some(long file, const void *from, size_t bytes)
{
    return write((int)file, from, bytes);
}

int main(int count, char **arguments)
{
    return program(count, arguments);
}

#endif

enum { TO_READ = 0, TO_PRINT = 1, TO_COMPLAIN = 2 };

/* Read until there are so many bytes or no more; return how many, negative where reading failed. */
static long read_all(long file, void *into, size_t bytes)
{
    size_t done = 0;
    while (done < bytes) {
        long got = read_some(file, (uint8_t *)into + done, bytes - done);
        if (got < 0)
            return got;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (long)done;
}

/* Return whether all of a text could be written. */
static int print(long file, const char *text)
{
    size_t length = 0;
    while (text[length])
        length++;
    while (length) {
        long done = write_some(file, text, length);
        if (done <= 0)
            return 0;
        text += done;
        length -= (size_t)done;
    }
    return 1;
}

#endif
