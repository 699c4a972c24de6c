/* The first instructions of a Cortex-M: copy constants to RAM, clear the rest, call main. */
#include <stdint.h>

extern uint32_t stack_end, data_begin, data_end, data_flash, bss_begin, bss_end;
int main(void);

static void halt(void)
{
    for (;;) {}
}

static void reset(void)
{
    uint32_t *from = &data_flash, *to = &data_begin;
    while (to < &data_end) *to++ = *from++;
    for (to = &bss_begin; to < &bss_end;) *to++ = 0;
    main();
    halt();
}

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    &stack_end, reset, halt, halt, halt, halt, halt, 0, 0, 0, 0, halt, halt, 0, halt, halt,
};
