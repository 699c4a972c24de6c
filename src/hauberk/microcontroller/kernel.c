#if defined(__AVR__)
#define FLASH __flash
#else
#define FLASH
#endif

typedef struct {
/*fields*/
} layer;

/*tables*/
/* A run: where the weights are read, and the class so far. */
typedef struct {
    uint32_t bits;  /* decoder's state */
/*if fixed*/
    uint8_t held;   /* bits in it */
/*end*/
    address next;   /* next byte of the stream */
    place left;     /* weights that are zero before the next one */
    uint16_t top;   /* largest output of the layer, and its index */
    uint16_t best;
} run;

static int32_t scratch[(NET_RAM + 3) / 4];

static uint8_t next(run *r)
{
    return r->next < sizeof stream ? stream[r->next++] : 0;
}

/*if rans*/
/* Bring the state above 16 bits; two bytes are enough for a stream that the encoder wrote. */
static void refill(run *r)
{
    if (r->bits < 65536) r->bits = r->bits << 8 | next(r);
    if (r->bits < 65536) r->bits = r->bits << 8 | next(r);
}

static uint16_t raw(run *r, uint8_t count)
{
    uint16_t bits = (uint16_t)(r->bits & ((1u << count) - 1));
    r->bits >>= count;
    refill(r);
    return bits;
}

/* The next code: an entropy-coded part, if there is one, and raw low bits. */
static uint16_t code(run *r, uint8_t low, uint8_t parts, uint16_t at)
{
    uint8_t part = 0, rest = (uint8_t)r->bits;
    if (parts > 1) {
        while (part + 1 < parts && rest >= counts[at + part]) rest -= counts[at + part++];
        r->bits = counts[at + part] * (r->bits >> 8) + rest;
        refill(r);
    }
    return (uint16_t)((part << low) | raw(r, low));
}

/*end*/
/*if fixed*/
static uint16_t code(run *r, uint8_t low)
{
    uint16_t bits;
    while (r->held < low) {
        r->bits |= (uint32_t)next(r) << r->held;
        r->held += 8;
    }
    bits = (uint16_t)(r->bits & ((1u << low) - 1));
    r->bits >>= low;
    r->held -= low;
    return bits;
}

/*end*/
/* Move to the next weight that is not zero; the largest code is continued by another one. */
static void skip(run *r, const FLASH layer *L)
{
    uint16_t gap;
    do {
/*if rans*/
        gap = code(r, L->gap_low, L->gap_parts, L->gap_at);
/*end*/
/*if fixed*/
        gap = code(r, L->gap_low);
/*end*/
        r->left += gap;
    } while (gap == (L->gap_parts << L->gap_low) - 1 && r->left < WEIGHTS);
}

static int value(run *r, const FLASH layer *L)
{
/*if rans*/
    uint16_t v = code(r, L->value_low, L->value_parts, L->value_at);
/*end*/
/*if fixed*/
    uint16_t v = code(r, L->value_low);
/*end*/
/*if book*/
    return book[L->book + v];
/*end*/
/*if raw*/
    return (int)(v & 255) - 128;
/*end*/
}

/* Rescale a sum and store it as output number i. */
static void put(run *r, const FLASH layer *L, uint8_t *out, int i, int c, int32_t sum)
{
    uint32_t u = sum < 0 ? 0 : (uint32_t)sum;
/*if channels*/
    uint16_t m = factor[L->first + c];
    uint8_t t = shift[L->first + c];
/*end*/
/*if layers*/
    uint16_t m = L->m;
    uint8_t t = L->t;
    (void)c;
/*end*/
    if (t > 23) {
        u >>= t - 23;
        t = 23;
    }
    u = u > 65535 ? 65535 : u * m >> (t - 8);
    if (u > 65535) u = 65535;
    if (u > r->top) {
        r->top = (uint16_t)u;
        r->best = (uint16_t)i;
    }
    u = (u + 128) >> 8;
    out[i] = u > 255 ? 255 : (uint8_t)u;
}

/*if linear*/
/* One output from all inputs: each weight is decoded once and multiplied in place. */
static void linear(run *r, const FLASH layer *L, const uint8_t *in, uint8_t *out)
{
    int c;
    for (c = 0; c < L->channels; c++) {
        int32_t sum = start[L->first + c];
        while (r->left < L->weights) {
            int w = value(r, L);
            sum += w * (in[r->left] - L->zero);
            r->left++;
            skip(r, L);
        }
        r->left -= L->weights;
        put(r, L, out, c, c, sum);
    }
}

/*end*/
/*if planes*/
/* Rows of sums that rows of a channel's output need: first and last, inside of the plane. */
static int first_row(const FLASH layer *L, int row)
{
    int y = row * L->pool_stride - L->pool_top;
    return y < 0 ? 0 : y;
}

static int last_row(const FLASH layer *L, int row)
{
    int y = row * L->pool_stride - L->pool_top + L->pool_height;
    return y > L->height ? L->height : y;
}

/* Pool and store rows of a channel's output, from `row` to before `end`. */
static void finish(run *r, const FLASH layer *L, int c, int row, int end, uint8_t *out)
{
    int y, x, top = first_row(L, row);
    for (; row < end; row++) {
        int column;
        for (column = 0; column < L->out_width; column++) {
            int left = column * L->pool_stride - L->pool_left;
            int right = left + L->pool_width;
            int32_t sum = L->mean ? 0 : INT32_MIN;
            if (left < 0) left = 0;
            if (right > L->width) right = L->width;
            for (y = first_row(L, row); y < last_row(L, row); y++) {
                for (x = left; x < right; x++) {
                    int32_t a = scratch[(y - top) * L->width + x];
                    if (L->mean) sum += L->relu && a < 0 ? 0 : a;
                    else if (a > sum) sum = a;
                }
            }
            put(r, L, out, (c * L->out_height + row) * L->out_width + column, c, sum);
        }
    }
}

/*end*/
/*if conv*/
/* Add one weight at every position of the rows from `top` to before `bottom`. */
static void spread(const FLASH layer *L, const uint8_t *in, place at, int w, int top, int bottom)
{
    int dy = -L->pad_top, dx = -L->pad_left, y, from = 0, to = L->width;
    while (at >= L->kernel) {
        at -= L->kernel;
        in += L->in_plane;
    }
    while (at >= L->kernel_width) {
        at -= L->kernel_width;
        dy += L->dilation;
    }
    dx += (int)at * L->dilation;
/*if padded*/
    if (dx >= L->in_width) return;
    if (dx < 0) from = (L->stride - 1 - dx) / L->stride;
    if ((L->in_width - 1 - dx) / L->stride < to) to = (L->in_width - 1 - dx) / L->stride + 1;
    if (to > L->width) to = L->width;
/*end*/
    for (y = top; y < bottom; y++) {
        int row = y * L->stride + dy, i = row * L->in_width + dx, x;
        int32_t *sums = scratch + (y - top) * L->width;
/*if padded*/
        if (row < 0 || row >= L->in_height) continue;
/*end*/
        for (x = from; x < to; x++) sums[x] += w * (in[i + x * L->stride] - L->zero);
    }
}

/* A channel at a time, in bands of rows: each weight is decoded once for a band. */
static void conv(run *r, const FLASH layer *L, const uint8_t *in, uint8_t *out)
{
    int c;
    for (c = 0; c < L->channels; c++) {
        const uint8_t *group = in + c / L->group_channels * L->group_bytes;
        run begin = *r;
        int row;
        for (row = 0; row < L->out_height; row += L->band) {
            int end = row + L->band < L->out_height ? row + L->band : L->out_height;
            int top = first_row(L, row), bottom = last_row(L, end - 1), i;
            uint16_t largest = r->top, best = r->best;
            *r = begin;
            r->top = largest;
            r->best = best;
            for (i = 0; i < (bottom - top) * L->width; i++) scratch[i] = start[L->first + c];
            while (r->left < L->weights) {
                int w = value(r, L);
                spread(L, group, r->left, w, top, bottom);
                r->left++;
                skip(r, L);
            }
            finish(r, L, c, row, end, out);
        }
        r->left -= L->weights;
    }
}

/*end*/
/*if total*/
/* The sum of two tensors; of one, if the second factor is 0. */
static void total(run *r, const FLASH layer *L, const uint8_t *a, const uint8_t *b, uint8_t *out)
{
    int c;
    for (c = 0; c < L->channels; c++) {
        int row;
        for (row = 0; row < L->out_height; row += L->band) {
            int end = row + L->band < L->out_height ? row + L->band : L->out_height;
            int top = first_row(L, row), bottom = last_row(L, end - 1), i;
            int k = (c * L->height + top) * L->width;
            for (i = 0; i < (bottom - top) * L->width; i++, k++) {
                scratch[i] = start[L->first + c] + L->factor_a * (int32_t)(a[k] - L->zero)
                    + L->factor_b * (int32_t)(b[k] - L->zero_b);
            }
            finish(r, L, c, row, end, out);
        }
    }
}

/*end*/
int net_predict(const uint8_t *x, int8_t *logits)
{
    uint8_t *ram = (uint8_t *)scratch, *out = (uint8_t *)logits;
    run r;
    int i;
    r.next = 0;
    r.left = 0;
/*if fixed*/
    r.bits = 0;
    r.held = 0;
/*end*/
/*if rans*/
    r.bits = next(&r);
    refill(&r);
/*end*/
    r.top = r.best = 0;
    skip(&r, layers);
/*calls*/
    for (i = 0; i < NET_CLASSES; i++) logits[i] = (int8_t)(out[i] - 128);
    return r.best;
}
