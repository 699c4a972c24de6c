/* Run an ATmega328P program in simavr: stdin goes to USART 0, what it sends goes to stdout. */
#include <simavr/sim_avr.h>
#include <simavr/sim_elf.h>
#include <simavr/avr_uart.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static avr_t *avr;
static avr_irq_t *input;
static int lines;
static int ready;

static void sent(struct avr_irq_t *irq, uint32_t value, void *param)
{
    (void)irq; (void)param;
    putchar((int)value);
    if (value == '\n' && --lines == 0) { fflush(stdout); exit(0); }
}

static void on(struct avr_irq_t *irq, uint32_t value, void *param)
{
    (void)irq; (void)value; (void)param;
    ready = 1;
}

static void off(struct avr_irq_t *irq, uint32_t value, void *param)
{
    (void)irq; (void)value; (void)param;
    ready = 0;
}

static void quiet(avr_t *of, const int level, const char *format, va_list list)
{
    (void)of; (void)level; (void)format; (void)list;
}

int main(int count, char **words)
{
    elf_firmware_t firmware = {0};
    uint32_t flags = 0;
    avr_global_logger_set(quiet);
    if (count != 3 || elf_read_firmware(words[1], &firmware)) return 2;
    lines = atoi(words[2]);
    avr = avr_make_mcu_by_name("atmega328p");
    avr_init(avr);
    firmware.frequency = 16000000;
    avr_load_firmware(avr, &firmware);
    avr_ioctl(avr, AVR_IOCTL_UART_GET_FLAGS('0'), &flags);
    flags &= ~(AVR_UART_FLAG_STDIO | AVR_UART_FLAG_POLL_SLEEP);
    avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags);
    input = avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_INPUT);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUTPUT), sent, 0);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XON), on, 0);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XOFF), off, 0);
    for (;;) {
        int state = avr_run(avr), c;
        if (state == cpu_Done || state == cpu_Crashed) return 1;
        if (ready && (c = getchar()) != EOF) avr_raise_irq(input, (uint32_t)c);
    }
}
