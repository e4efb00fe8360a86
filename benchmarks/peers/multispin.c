/* What one writes by hand in C: 32 chains of a square lattice in the bits of a word, a heat bath in no field.

   The same words, from the same random numbers (jaxrg.random.light_bits: the states of Threefry4x32 after 10 and 13
   rounds), and the same comparisons as jaxrg.samplers.multispin_heat_bath, in loops that gcc turns into vectors. */

#include <stdint.h>
#include <string.h>

enum { PLANES = 12 };

static inline uint32_t turn(uint32_t word, int by) { return (word << by) | (word >> (32 - by)); }
static inline uint32_t where(int is_true) { return is_true ? 0xFFFFFFFFu : 0; }

#define MIX(x, y, by) x += y, y = turn(y, by) ^ x
#define EVEN(p, q) MIX(w0, w1, p), MIX(w2, w3, q)
#define ODD(p, q) MIX(w0, w3, p), MIX(w2, w1, q)
#define KEYS(n) w0 += key[n], w1 += key[(n + 1) % 5], w2 += key[(n + 2) % 5], w3 += key[(n + 3) % 5] + n

/* Digits of P(+1) for -2 and -4 as neighbour sum, 12 in `head` and 32 in `tail`. */
struct table {
    uint32_t head[2], tail[2];
};

static void row(uint32_t *restrict out, const uint32_t *restrict here, const uint32_t *restrict side,
                const uint32_t *restrict above, const uint32_t *restrict below, int width, uint32_t site,
                uint32_t replica, const uint32_t key[5], const struct table *table) {
    uint32_t four[PLANES], other[PLANES]; /* digits at -4, and where those at -2 are others */
    for (int k = 0; k < PLANES; k++) {
        four[k] = where(table->head[1] >> k & 1);
        other[k] = four[k] ^ where(table->head[0] >> k & 1);
    }
    const uint32_t tail2 = table->tail[0], tail4 = table->tail[1];
#pragma omp simd
    for (int j = 0; j < width; j++) {
        uint32_t w0 = site + 2 * j + key[0], w1 = replica + key[1], w2 = key[2], w3 = key[3];
        EVEN(10, 26), ODD(11, 21), EVEN(13, 27), ODD(23, 5), KEYS(1);
        EVEN(6, 20), ODD(17, 11), EVEN(25, 10), ODD(18, 20), KEYS(2);
        EVEN(10, 26), ODD(11, 21);
        uint32_t r4 = w0, r5 = w1, r6 = w2, r7 = w3;
        EVEN(13, 27), ODD(23, 5), KEYS(3), EVEN(6, 20);
        uint32_t r8 = w0, r9 = w1, r10 = w2, r11 = w3;
        uint32_t r0 = turn(r4, 11) ^ turn(r5, 22), r1 = turn(r6, 11) ^ turn(r7, 22);
        uint32_t r2 = turn(r8, 11) ^ turn(r9, 22), r3 = turn(r10, 11) ^ turn(r11, 22);
        uint32_t settle = r4 ^ turn(r5, 1) ^ turn(r6, 2) ^ turn(r7, 3);
        settle ^= turn(r8, 4) ^ turn(r9, 5) ^ turn(r10, 6) ^ turn(r11, 7);

        uint32_t sum12 = here[j] ^ side[j], sum34 = above[j] ^ below[j];
        uint32_t both12 = here[j] & side[j], both34 = above[j] & below[j];
        uint32_t odd = sum12 ^ sum34, two = (sum12 & sum34) ^ both12 ^ both34, all = both12 & both34;
        uint32_t up = all | (odd & two), even = two & ~odd & ~all; /* most up; as many up as down */

        uint32_t at2 = (where(settle < tail2) & ~up) | (where(~settle < tail2) & up);
        uint32_t at4 = (where(settle < tail4) & ~up) | (where(~settle < tail4) & up);
        uint32_t is_true = (at2 & odd) | (at4 & ~odd);
#define COMPARE(k)                                                                                                     \
    {                                                                                                                  \
        uint32_t plane = r##k ^ up, digit = four[k] ^ (odd & other[k]);                                                \
        is_true = (plane & is_true) | ((plane | is_true) & digit);                                                     \
    }
        COMPARE(0) COMPARE(1) COMPARE(2) COMPARE(3) COMPARE(4) COMPARE(5)
        COMPARE(6) COMPARE(7) COMPARE(8) COMPARE(9) COMPARE(10) COMPARE(11)
        out[j] = (even & r11) | (~even & (is_true ^ up));
    }
}

/* New words of one colour, [words, rows, width], from those of the other. */
void half_sweep(uint32_t *out, const uint32_t *others, int words, int rows, int width, int colour,
                const uint32_t *key_words, const struct table *table) {
    const uint32_t *k = key_words, key[5] = {k[0], k[1], k[2], k[3], 0x1BD11BDAu ^ k[0] ^ k[1] ^ k[2] ^ k[3]};
#pragma omp parallel for collapse(2) schedule(static)
    for (int word = 0; word < words; word++)
        for (int i = 0; i < rows; i++) {
            const uint32_t *lattice = others + (size_t)word * rows * width, *here = lattice + (size_t)i * width;
            int parity = (i + colour) & 1;
            uint32_t side[width];
            side[parity ? width - 1 : 0] = here[parity ? 0 : width - 1];
            memcpy(side + !parity, here + parity, (width - 1) * sizeof *side);
            row(out + (size_t)word * rows * width + (size_t)i * width, here, side,
                lattice + (size_t)((i + rows - 1) % rows) * width, lattice + (size_t)((i + 1) % rows) * width, width,
                2u * i * width + parity, word, key, table);
        }
}
