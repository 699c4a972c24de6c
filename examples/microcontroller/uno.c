/* Arduino Uno (ATmega328P at 16 MHz): USART 0 at 115200 baud, and timer 1 in steps of 1024 cycles. */
#include <avr/io.h>

#include "board.h"

void board_start(void)
{
    UCSR0A = 1 << U2X0;
    UBRR0 = 16;
    UCSR0B = 1 << RXEN0 | 1 << TXEN0;
    TCCR1B = 1 << CS12 | 1 << CS10;
}

uint8_t board_read(void)
{
    while (!(UCSR0A & 1 << RXC0)) {}
    return UDR0;
}

void board_write(char c)
{
    while (!(UCSR0A & 1 << UDRE0)) {}
    UDR0 = (uint8_t)c;
}

uint32_t board_ticks(void)
{
    return TCNT1;
}
