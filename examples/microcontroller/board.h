/* What a board gives to main.c: a serial line and a timer. */
#ifndef BOARD_H
#define BOARD_H
#include <stdint.h>
void board_start(void);
uint8_t board_read(void);
void board_write(char c);
uint32_t board_ticks(void);
#endif
