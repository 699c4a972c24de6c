/* Arm MPS2 with a Cortex-M3 (AN385) or M4 (AN386): UART0 and timer 0 of 25 MHz. */
#include "board.h"

#define UART ((volatile uint32_t *)0x40004000)  /* data, state, control, interrupts, divisor */
#define TIMER ((volatile uint32_t *)0x40000000) /* control, value, reload */

void board_start(void)
{
    UART[4] = 16;
    UART[2] = 3;
    TIMER[2] = TIMER[1] = 0xffffffffu;
    TIMER[0] = 1;
}

uint8_t board_read(void)
{
    while (!(UART[1] & 2)) {}
    return (uint8_t)UART[0];
}

void board_write(char c)
{
    while (UART[1] & 1) {}
    UART[0] = (uint8_t)c;
}

uint32_t board_ticks(void)
{
    return 0xffffffffu - TIMER[1];
}
