/* Count the instructions of net_predict on an emulated Arm MPS2 board: the ticks of its timer go to
   the serial line. Under `-icount shift=0` a tick of 25 MHz is 40 instructions. */
#include "net.h"

#define UART ((volatile uint32_t *)0x40004000)
#define TIMER ((volatile uint32_t *)0x40000000)

extern uint32_t stack_end, bss_begin, bss_end;

static uint8_t image[NET_INPUTS];
static int8_t logits[NET_CLASSES];

static void halt(void)
{
    for (;;) {}
}

static void reset(void)
{
    uint32_t *word, ticks, i, scale = 1000000000u;
    for (word = &bss_begin; word < &bss_end;) *word++ = 0;
    for (i = 0; i < NET_INPUTS; i++) image[i] = (uint8_t)(i * 37);
    UART[4] = 16;
    UART[2] = 1;
    TIMER[2] = TIMER[1] = 0xffffffffu;
    TIMER[0] = 1;
    ticks = TIMER[1];
    net_predict(image, logits);
    ticks -= TIMER[1];
    for (; scale; scale /= 10) {
        while (UART[1] & 1) {}
        UART[0] = '0' + ticks / scale % 10;
    }
    UART[0] = '\n';
    halt();
}

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    &stack_end, reset, halt, halt, halt, halt, halt, 0, 0, 0, 0, halt, halt, 0, halt, halt,
};
