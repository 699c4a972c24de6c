/* BBC micro:bit (nRF51822, Cortex-M0): the UART on the USB connector and timer 0 of 16 MHz. */
#include "board.h"

#define UART(offset) (*(volatile uint32_t *)(0x40002000 + (offset)))
#define TIMER(offset) (*(volatile uint32_t *)(0x40008000 + (offset)))

void board_start(void)
{
    UART(0x50c) = 24;          /* pin of TXD */
    UART(0x514) = 25;          /* pin of RXD */
    UART(0x524) = 0x01d7e000;  /* 115200 baud */
    UART(0x500) = 4;
    UART(0x000) = UART(0x008) = 1;
    TIMER(0x508) = 3;
    TIMER(0x510) = 0;
    TIMER(0x000) = 1;
}

uint8_t board_read(void)
{
    while (!UART(0x108)) {}
    UART(0x108) = 0;
    return (uint8_t)UART(0x518);
}

void board_write(char c)
{
    UART(0x11c) = 0;
    UART(0x51c) = (uint8_t)c;
    while (!UART(0x11c)) {}
}

uint32_t board_ticks(void)
{
    TIMER(0x040) = 1;
    return TIMER(0x540);
}
