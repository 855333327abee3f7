/* Numbers, vectors and matrices of `native.c`: functions of numbers, and the one product that there is.

   An activation is a matrix (features, lanes): the rows of a batch side by side in lanes, a multiple of STEP of them.
   Lanes beyond the batch repeat its first row with weight zero. A weight matrix is (outputs, ld), its rows padded with
   zeros to a multiple of STEP, so that all loops run over whole vectors; of FEW inputs or outputs it is as it comes.
   `packed_network.py` packs and unpacks. */

#ifndef NATIVE_MATRICES_H
#define NATIVE_MATRICES_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef NATIVE_DOUBLE
typedef double real;
#else
typedef float real;
#endif
#if defined(__AVX2__) && !defined(NATIVE_DOUBLE)
#include <immintrin.h>
#endif
typedef int64_t whole;

#if defined(NATIVE_WIDTH) /* tests take others than the processor's */
enum { WIDTH = NATIVE_WIDTH, TILE_ROWS = 8 };
#elif defined(__AVX512F__)
enum { WIDTH = 64, TILE_ROWS = 8 };
#elif defined(__AVX2__)
enum { WIDTH = 32, TILE_ROWS = 6 };
#else
enum { WIDTH = 16, TILE_ROWS = 6 };
#endif
enum { LANES = 16, V = WIDTH / sizeof(real), STEP = V < 4 ? 4 : V, MOST_IN_TILE = 2 * TILE_ROWS, FEW = 3 };
#define TWO_FOURS (TILE_ROWS == 6 ? 8 : -1) /* rows that are better taken so than as six and two */
typedef real vector __attribute__((vector_size(WIDTH), may_alias));
typedef real loose __attribute__((vector_size(WIDTH), may_alias, aligned(sizeof(real)))); /* wherever it stands */
typedef real quad __attribute__((vector_size(4 * sizeof(real)), may_alias));
typedef real wide __attribute__((vector_size(STEP * sizeof(real)), may_alias));
typedef __typeof__((vector){0} > (vector){0}) truth; /* of each number of a vector, all bits or none */
#define INLINE static inline __attribute__((always_inline))
#define EACH(i, n) for (whole i = 0; i < (n); i++)

/* -------------------------------------------------------------------------------------------- numbers */

INLINE whole rounded(whole n) { return (n + STEP - 1) / STEP * STEP; }

/* e^x to 2 ulp: 2^n e^r with r in +-ln(2)/2, by a polynomial; over- and underflow as in libm. */
INLINE real exponential(real x) {
#ifdef NATIVE_DOUBLE
    return exp(x);
#else
    x = x > 90.0f ? 90.0f : x;
    x = x < -105.0f ? -105.0f : x;
    float n = rintf(x * 1.44269504f);
    float r = x - n * 0.693359375f - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    union { uint32_t bits; float value; } low, high; /* two factors: 2^n alone may be beyond what a float can hold */
    int32_t half = (int32_t)n >> 1;
    low.bits = (uint32_t)(half + 127) << 23;
    high.bits = (uint32_t)((int32_t)n - half + 127) << 23;
    return p * low.value * high.value;
#endif
}

/* ln x of an x of normal size. */
INLINE real logarithm(real x) {
#ifdef NATIVE_DOUBLE
    return log(x);
#else
    union { uint32_t bits; float value; } m = {.value = x};
    int32_t e = (int32_t)(m.bits - 0x3f3504f3u) >> 23; /* m in sqrt(1/2) .. sqrt(2) */
    m.bits -= (uint32_t)e << 23;
    float s = (m.value - 1.0f) / (m.value + 1.0f), s2 = s * s;
    float p = 0.4f + s2 * (2.0f / 7.0f + s2 * (2.0f / 9.0f + s2 * (2.0f / 11.0f)));
    return (float)e * 0.693359375f + ((float)e * -2.12194440e-4f + s * (2.0f + s2 * (0.66666667f + s2 * p)));
#endif
}

INLINE real root(real x) {
#ifdef NATIVE_DOUBLE
    return sqrt(x);
#else
    return sqrtf(x);
#endif
}

/* By vectors: 1 / a and sqrt(a) of positive numbers of normal size, and e^x with x held between -87 and 88, to 2e-7 where
   |x| is small: 2^n 2^f, f in +-1/2, by the polynomial of least relative error 2e-9 that is 1 at 0. With AVX-512 a step of Newton's method doubles the 14 bits of an estimate: divisions and roots take three times as long there. */
#if defined(NATIVE_DOUBLE) || !defined(__AVX2__)
INLINE vector reciprocal(vector a) { return (real)1 / a; }
INLINE vector root_of(vector a) {
    EACH(k, V) a[k] = root(a[k]);
    return a;
}
INLINE vector bounded_exponential(vector x) {
    EACH(k, V) x[k] = exponential(x[k] > 88 ? 88 : x[k]);
    return x;
}
#else
#if defined(__AVX512F__)
INLINE vector reciprocal(vector a) {
    vector x = (vector)_mm512_rcp14_ps((__m512)a);
    return x * (2.0f - a * x);
}
INLINE vector root_of(vector a) {
    vector x = (vector)_mm512_rsqrt14_ps((__m512)a);
    return a * (x * (1.5f - 0.5f * a * x * x));
}
#define HELD(x) (vector)_mm512_max_ps(_mm512_min_ps((__m512)(x), _mm512_set1_ps(88.0f)), _mm512_set1_ps(-87.0f))
#else
INLINE vector reciprocal(vector a) { return 1.0f / a; }
INLINE vector root_of(vector a) { return (vector)_mm256_sqrt_ps((__m256)a); }
#define HELD(x) (vector)_mm256_max_ps(_mm256_min_ps((__m256)(x), _mm256_set1_ps(88.0f)), _mm256_set1_ps(-87.0f))
#endif
typedef uint32_t bits __attribute__((vector_size(WIDTH)));
INLINE vector bounded_exponential(vector x) {
    x = HELD(x);
    vector shifted = x * 1.44269504f + 0x1.8p23f, n = shifted - 0x1.8p23f; /* the last bits of `shifted` are n */
    vector f = x * 1.44269504f - n, f2 = f * f; /* the polynomial in few steps after one another: they set the time */
    vector p = f2 * 1.53533621e-4f + (f * 1.33988746e-3f + 9.61843736e-3f);
    p = f2 * p + (f * 5.55033247e-2f + 2.40226479e-1f);
    p = f2 * p + (f * 6.93147203e-1f + 1.0f);
    return p * (vector)(((bits)shifted << 23) + 0x3f800000u);
}
#endif

INLINE vector chosen(truth yes, vector a, vector b) { return (vector)(((truth)a & yes) | ((truth)b & ~yes)); }
INLINE vector larger(vector a, vector b) { return chosen(a > b, a, b); }
INLINE vector magnitude(vector a) { return chosen(a < 0, -a, a); }

/* The lengths of vectors, given their squares, but no less than `contrast.SHORTEST`. */
INLINE vector length_of(vector square) {
    const vector shortest = (vector){0} + (real)1e-8;
    return root_of(larger(square, shortest * shortest));
}

/* The sum of n numbers, or of products, a multiple of STEP. */
INLINE real sum_of(const real *a, const real *b, whole n) {
    real sums[STEP] = {0};
    for (whole i = 0; i < n; i += STEP) EACH(k, STEP) sums[k] += b ? a[i + k] * b[i + k] : a[i + k];
    for (whole half = STEP / 2; half; half /= 2) EACH(k, half) sums[k] += sums[k + half];
    return sums[0];
}

/* ------------------------------------------------------------------------------------------- matrices */

/* Copies n numbers, wherever they stand. */
INLINE void copy(real *to, const real *from, whole n) {
    whole i = 0;
    for (; i + V <= n; i += V) *(loose *)(to + i) = *(const loose *)(from + i);
    for (; i < n; i++) to[i] = from[i];
}

/* out[o] = (bias[o] + sum_i w[o, i] a[i]) times[o] for R rows of out and N vectors of lanes, all R N sums held in
   registers; without bias or times where they are NULL. */
INLINE void tile(const int R, const int N, real *out, whole out_ld, const real *w, whole w_row, whole w_column,
                 const real *a, whole a_ld, whole n_in, const real *bias, const real *times) {
    vector sums[MOST_IN_TILE], x[4];
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int n = 0; n < N; n++) sums[r * N + n] = (vector){0} + (bias ? bias[r] : (real)0);
    EACH(i, n_in) {
#pragma GCC unroll 4
        for (int n = 0; n < N; n++) x[n] = *(const vector *)(a + i * a_ld + n * V);
#pragma GCC unroll 16
        for (int r = 0; r < R; r++)
#pragma GCC unroll 4
            for (int n = 0; n < N; n++) sums[r * N + n] += w[r * w_row + i * w_column] * x[n];
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int n = 0; n < N; n++) {
            if (times) sums[r * N + n] *= *(const vector *)(times + r * out_ld + n * V);
            *(vector *)(out + r * out_ld + n * V) = sums[r * N + n];
        }
}

INLINE void stripe(const int N, real *out, whole out_ld, whole n_out, const real *w, whole w_row, whole w_column,
                   const real *a, whole a_ld, whole n_in, const real *bias, const real *times) {
    whole o = 0;
#define ROWS(R) \
    tile(R, N, out + o * out_ld, out_ld, w + o * w_row, w_row, w_column, a, a_ld, n_in, bias ? bias + o : 0, \
         times ? times + o * out_ld : 0)
    if (N == 1) for (; o + 2 * TILE_ROWS <= n_out; o += 2 * TILE_ROWS) ROWS(2 * TILE_ROWS);
    for (; N <= 2 && o + TILE_ROWS <= n_out && n_out - o != TWO_FOURS; o += TILE_ROWS) ROWS(TILE_ROWS);
    if (N <= 3) for (; o + 4 <= n_out; o += 4) ROWS(4);
    if (o + 3 <= n_out) { ROWS(3); o += 3; }
    if (o + 2 <= n_out) { ROWS(2); o += 2; }
    if (o < n_out) ROWS(1);
#undef ROWS
}

/* out (n_out, lanes) = bias + w a, where w[o, i] stands at o * w_row + i * w_column, times another matrix like it entry
   by entry; without bias or times where they are NULL. Each sum waits for the one before it, so that few rows want many
   vectors side by side. */
static void product(real *out, whole out_ld, whole n_out, const real *w, whole w_row, whole w_column, const real *a,
                    whole a_ld, whole n_in, whole lanes, const real *bias, const real *times) {
    whole l = 0;
#define STRIPES(N) \
    for (; l + N * V <= lanes; l += N * V) \
        stripe(N, out + l, out_ld, n_out, w, w_row, w_column, a + l, a_ld, n_in, bias, times ? times + l : 0)
    if (n_out <= FEW) STRIPES(4);
    if (lanes % (3 * V) == 0) STRIPES(3);
    STRIPES(2);
    STRIPES(1);
#undef STRIPES
}

/* The sums of the numbers of four vectors each, by halves that are added as they are turned. */
INLINE quad sums_of_four(const wide *vectors) {
    quad s[4];
    EACH(r, 4) {
        union { wide all; quad fours[STEP / 4]; } parts = {vectors[r]};
        s[r] = parts.fours[0];
        for (int k = 1; k < STEP / 4; k++) s[r] += parts.fours[k];
    }
    quad ab = __builtin_shufflevector(s[0], s[1], 0, 4, 2, 6) + __builtin_shufflevector(s[0], s[1], 1, 5, 3, 7);
    quad cd = __builtin_shufflevector(s[2], s[3], 0, 4, 2, 6) + __builtin_shufflevector(s[2], s[3], 1, 5, 3, 7);
    return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
}

/* out[o, i] = sum_l a[o, l] b[i, l] for N rows of b, where out[o, i] stands at o * row + i * column; b NULL: of a. */
INLINE void dots_of(const int N, real *out, whole row, whole column, const real *a, whole n_a, const real *b,
                    whole lanes) {
    for (whole o = 0; o < n_a; o += 4) {
        wide sums[FEW][4] = {{{0}}};
        const real *rows[4]; /* where there are fewer, the last one again */
        EACH(r, 4) rows[r] = a + (o + r < n_a ? o + r : n_a - 1) * lanes;
        for (whole l = 0; l < lanes; l += STEP)
#pragma GCC unroll 4
            for (int r = 0; r < 4; r++)
#pragma GCC unroll 4
                for (int i = 0; i < N; i++) {
                    wide entries = *(const wide *)(rows[r] + l);
                    if (b) entries *= *(const wide *)(b + i * lanes + l);
                    sums[i][r] += entries;
                }
#pragma GCC unroll 4
        for (int i = 0; i < N; i++) {
            quad four = sums_of_four(sums[i]);
            real *to = out + o * row + i * column;
            if (n_a - o < 4) EACH(r, n_a - o) to[r * row] = four[r];
            else to[0] = four[0], to[row] = four[1], to[2 * row] = four[2], to[3 * row] = four[3];
        }
    }
}

/* The same for any number of rows of b, meant for few: a product with many would turn one of the two. */
static void dots(real *out, whole row, whole column, const real *a, whole n_a, const real *b, whole n_b, whole lanes) {
    whole i = 0;
    for (; i + 3 <= n_b; i += 3) dots_of(3, out + i * column, row, column, a, n_a, b + i * lanes, lanes);
    if (i + 2 == n_b) dots_of(2, out + i * column, row, column, a, n_a, b + i * lanes, lanes);
    if (i + 1 == n_b) dots_of(1, out + i * column, row, column, a, n_a, b + i * lanes, lanes);
}

/* The sum of each row of a matrix (n, lanes). */
static void row_sums(real *out, const real *rows, whole n, whole lanes) { dots_of(1, out, 1, 1, rows, n, 0, lanes); }

/* out (columns, out_ld) = in (rows, in_ld)', four by four; rows and columns are rounded up to fours. */
static void transpose(real *out, whole out_ld, const real *in, whole in_ld, whole n_rows, whole n_columns) {
    for (whole r = 0; r < n_rows; r += 4)
        for (whole k = 0; k < n_columns; k += 4) {
            const real *p = in + r * in_ld + k;
            quad a = *(const quad *)p, b = *(const quad *)(p + in_ld);
            quad c = *(const quad *)(p + 2 * in_ld), d = *(const quad *)(p + 3 * in_ld);
            quad ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), AB = __builtin_shufflevector(a, b, 2, 6, 3, 7);
            quad cd = __builtin_shufflevector(c, d, 0, 4, 1, 5), CD = __builtin_shufflevector(c, d, 2, 6, 3, 7);
            real *t = out + k * out_ld + r;
            *(quad *)t = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
            *(quad *)(t + out_ld) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
            *(quad *)(t + 2 * out_ld) = __builtin_shufflevector(AB, CD, 0, 1, 4, 5);
            *(quad *)(t + 3 * out_ld) = __builtin_shufflevector(AB, CD, 2, 3, 6, 7);
        }
}

/* out (lanes, ld) = a (n, lanes)': rows of a batch first, with zeros up to ld, the multiple of STEP returned. */
static whole turn(real *out, const real *a, whole n, whole lanes) {
    whole ld = rounded(n);
    transpose(out, ld, a, lanes, n, lanes);
    if (n < ld) EACH(i, lanes) for (whole k = n; k < ld; k++) out[i * ld + k] = 0;
    return ld;
}

#endif
