/* Classify the images that arrive over the serial line: NET_INPUTS bytes in, a line of text out. */
#include "board.h"
#include "net.h"

static void number(int32_t n)
{
    char digits[11];
    uint8_t count = 0;
    uint32_t rest = n < 0 ? 0u - (uint32_t)n : (uint32_t)n;
    if (n < 0) board_write('-');
    do {
        digits[count++] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    while (count) board_write(digits[--count]);
}

int main(void)
{
    static uint8_t image[NET_INPUTS];
    static int8_t logits[NET_CLASSES];
    board_start();
    for (;;) {
        uint16_t i;
        int class;
        uint32_t ticks;
        for (i = 0; i < NET_INPUTS; i++) image[i] = board_read();
        ticks = board_ticks();
        class = net_predict(image, logits);
        ticks = board_ticks() - ticks;
        number(class);
        for (i = 0; i < NET_CLASSES; i++) {
            board_write(' ');
            number(logits[i]);
        }
        board_write(' ');
        number((int32_t)ticks);
        board_write('\n');
    }
}
