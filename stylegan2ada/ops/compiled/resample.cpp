// upfirdn2d for CPUs. An image is [planes, height, width, inner]: channels are planes where width is innermost,
// and inner where they are (channels last), so that one text serves both layouts.
#include <algorithm>
#include <vector>
#include "elements.h"

using namespace sg;

namespace {

struct Image {
    int64_t planes, height, width, inner, out_height, out_width;
};

constexpr int TAPS = 4;
constexpr int64_t BAND = 64;  // output rows that one task takes

// taps[i][j] = rows[i] * columns[j], if that is so.
template <class A> bool separate(const A* taps, int64_t kh, int64_t kw, A* rows, A* columns) {
    const A* pivot = std::max_element(taps, taps + kh * kw, [](A l, A r) { return std::fabs(l) < std::fabs(r); });
    const int64_t pi = (pivot - taps) / kw, pj = (pivot - taps) % kw;
    if (*pivot == A(0)) return false;
    std::fill(rows, rows + TAPS, A(0));
    std::fill(columns, columns + TAPS, A(0));
    for (int64_t j = 0; j < kw; j++) columns[j] = taps[pi * kw + j];
    for (int64_t i = 0; i < kh; i++) rows[i] = taps[i * kw + pj] / *pivot;
    for (int64_t i = 0; i < kh; i++)
        for (int64_t j = 0; j < kw; j++)
            if (std::fabs(taps[i * kw + j] - rows[i] * columns[j]) > A(sizeof(A) == 8 ? 1e-13 : 3e-7) * std::fabs(*pivot)) return false;
    return true;
}

// One filtered row along x. UP, DOWN: 1 or 2, not both 2. `even` and `odd` are scratch.
template <class T, class A, int UP, int DOWN>
void filter_row(const T* in, A* out, const Image& m, int64_t before, const A* t, A* even, A* odd) {
    const int64_t c = m.inner;
    // Of the samples that outputs can reach, all are copied, those outside the image as zeros.
    auto copy = [&](A* to, int64_t first, int64_t count, int64_t stride) {
        const int64_t lead = first < 0 ? std::min(count, (-first + stride - 1) / stride) : 0;
        const int64_t start = first + lead * stride;
        const int64_t there = start < m.width ? std::min(count - lead, (m.width - start + stride - 1) / stride) : 0;
        std::fill(to, to + lead * c, A(0));
        A* body = to + lead * c;
        if (stride == 1) {
#pragma omp simd
            for (int64_t i = 0; i < there * c; i++) body[i] = A(read(in[start * c + i]));
        } else if (c == 1) {
#pragma omp simd
            for (int64_t i = 0; i < there; i++) body[i] = A(read(in[start + 2 * i]));
        } else {
            for (int64_t i = 0; i < there; i++) {
                const T* from = in + (start + 2 * i) * c;
#pragma omp simd
                for (int64_t k = 0; k < c; k++) body[i * c + k] = A(read(from[k]));
            }
        }
        std::fill(body + there * c, to + count * c, A(0));
    };
    if (UP == 1 && DOWN == 1) {
        copy(even, -before, m.out_width + TAPS - 1, 1);
#pragma omp simd
        for (int64_t i = 0; i < m.out_width * c; i++)
            out[i] = t[0] * even[i] + t[1] * even[i + c] + t[2] * even[i + 2 * c] + t[3] * even[i + 3 * c];
    } else if (DOWN == 2) {
        copy(even, -before, m.out_width + 1, 2);
        copy(odd, 1 - before, m.out_width + 1, 2);
#pragma omp simd
        for (int64_t i = 0; i < m.out_width * c; i++)
            out[i] = t[0] * even[i] + t[1] * odd[i] + t[2] * even[i + c] + t[3] * odd[i + c];
    } else {
        // Output 2i reads the taps of before's parity; its neighbour the others. Kept apart: [half | half].
        const int64_t half = (m.out_width + 1) / 2, odd_before = before & 1;
        const int64_t first = (-before + odd_before) / 2;  // sample under tap odd_before of output 0
        copy(even, first, half + 2, 1);
        A* second = out + half * c;
        const A *e = t + odd_before, *o = t + 1 - odd_before;
        const A* shifted = even + (odd_before ? 0 : c);  // output 1, tap 1 - odd_before
#pragma omp simd
        for (int64_t i = 0; i < half * c; i++) {
            out[i] = e[0] * even[i] + e[2] * even[i + c];
            second[i] = o[0] * shifted[i] + o[2] * shifted[i + c];
        }
    }
}

template <class T, int UP, int DOWN>
void separable(const T* x, T* y, const Image& m, int64_t before_x, int64_t before_y,
               const typename Wide<T>::type* rows, const typename Wide<T>::type* columns, int threads) {
    using A = typename Wide<T>::type;
    const int64_t bands = (m.out_height + BAND - 1) / BAND, c = m.inner;
    const int64_t half = (m.out_width + 1) / 2, wide = (UP == 2 ? 2 * half : m.out_width) * c;
    constexpr int REACH = UP == 2 ? 2 : TAPS;  // filtered rows that one output row takes
    const Axis axis{UP, DOWN, before_y};
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        std::vector<A> ring(TAPS * wide), even((m.out_width + TAPS + 2) * c), odd((m.out_width + TAPS) * c), zero(wide, A(0)), mixed(UP == 2 ? wide : 0);
        int64_t held[TAPS];
#pragma omp for schedule(static)
        for (int64_t task = 0; task < m.planes * bands; task++) {
            const int64_t plane = task / bands, first = task % bands * BAND;
            std::fill(held, held + TAPS, int64_t(-1));
            for (int64_t j = first; j < std::min(first + BAND, m.out_height); j++) {
                const A* from[REACH];
                A weight[REACH];
                int found = 0;
                for (int t = 0; t < TAPS; t++) {
                    const int64_t place = j * DOWN + t - before_y;
                    if (UP == 2 && (place & 1)) continue;
                    const int64_t row = sample_of(j, t, axis, m.height);
                    weight[found] = rows[t];
                    if (row < 0) {
                        from[found++] = zero.data();
                        continue;
                    }
                    A* kept = ring.data() + row % TAPS * wide;
                    if (held[row % TAPS] != row) {
                        filter_row<T, A, UP, DOWN>(x + (plane * m.height + row) * m.width * c, kept, m, before_x,
                                                   columns, even.data(), odd.data());
                        held[row % TAPS] = row;
                    }
                    from[found++] = kept;
                }
                T* out = y + (plane * m.out_height + j) * m.out_width * c;
                if constexpr (UP == 2) {
                    A* both = mixed.data();
#pragma omp simd
                    for (int64_t i = 0; i < wide; i++) both[i] = weight[0] * from[0][i] + weight[1] * from[1][i];
                    const A* second = both + half * c;
                    if (c == 1) {
                        const int64_t pairs = m.out_width / 2;
#pragma omp simd
                        for (int64_t i = 0; i < pairs; i++) {
                            put(out[2 * i], both[i]);
                            put(out[2 * i + 1], second[i]);
                        }
                        if (m.out_width & 1) put(out[m.out_width - 1], both[pairs]);
                    } else {
                        for (int64_t i = 0; i < m.out_width; i++) {
                            const A* pick = (i & 1 ? second : both) + i / 2 * c;
#pragma omp simd
                            for (int64_t k = 0; k < c; k++) put(out[i * c + k], pick[k]);
                        }
                    }
                } else {
#pragma omp simd
                    for (int64_t i = 0; i < wide; i++)
                        put(out[i], weight[0] * from[0][i] + weight[1] * from[1][i] + weight[2] * from[2][i] +
                                        weight[3] * from[3][i]);
                }
            }
        }
    }
}

// Any filter and any factors: tap by tap, the outputs that a tap reaches.
template <class T>
void generic(const T* x, T* y, const typename Wide<T>::type* taps, int64_t kh, int64_t kw, const Image& m,
             const Axis& columns, const Axis& rows, int threads) {
    using A = typename Wide<T>::type;
    const int64_t c = m.inner;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        std::vector<A> sum(m.out_width * c);
#pragma omp for schedule(static)
        for (int64_t task = 0; task < m.planes * m.out_height; task++) {
            const int64_t plane = task / m.out_height, j = task % m.out_height;
            std::fill(sum.begin(), sum.end(), A(0));
            for (int64_t ty = 0; ty < kh; ty++) {
                const int64_t row = sample_of(j, ty, rows, m.height);
                if (row < 0) continue;
                const T* in = x + (plane * m.height + row) * m.width * c;
                for (int64_t tx = 0; tx < kw; tx++) {
                    const A tap = taps[ty * kw + tx];
                    if (columns.up == 1) {  // outputs first..last read inside the image
                        const int64_t shift = tx - columns.before;
                        const int64_t first = shift < 0 ? (-shift + columns.down - 1) / columns.down : 0;
                        const int64_t left = m.width - 1 - shift;
                        const int64_t last = left < 0 ? -1 : std::min(left / columns.down, m.out_width - 1);
                        if (c == 1 && columns.down == 1) {
#pragma omp simd
                            for (int64_t i = first; i <= last; i++) sum[i] += tap * A(read(in[i + shift]));
                        } else {
                            for (int64_t i = first; i <= last; i++)
                                for (int64_t k = 0; k < c; k++)
                                    sum[i * c + k] += tap * A(read(in[(i * columns.down + shift) * c + k]));
                        }
                        continue;
                    }
                    for (int64_t i = 0; i < m.out_width; i++) {
                        const int64_t at = sample_of(i, tx, columns, m.width);
                        if (at < 0) continue;
                        for (int64_t k = 0; k < c; k++) sum[i * c + k] += tap * A(read(in[at * c + k]));
                    }
                }
            }
            T* out = y + (plane * m.out_height + j) * m.out_width * c;
            for (int64_t i = 0; i < m.out_width * c; i++) put(out[i], sum[i]);
        }
    }
}

template <class T>
void resample(const void* x_, const void* taps_, void* y_, int64_t kh, int64_t kw, const Image& m,
              const Axis& columns, const Axis& rows, int threads) {
    using A = typename Wide<T>::type;
    const T* x = static_cast<const T*>(x_);
    const A* taps = static_cast<const A*>(taps_);
    T* y = static_cast<T*>(y_);
    A by_row[TAPS], by_column[TAPS];
    const bool alike = columns.up == rows.up && columns.down == rows.down;
    if (alike && kh <= TAPS && kw <= TAPS && separate(taps, kh, kw, by_row, by_column)) {
#define SG_CASE(UP, DOWN)                                                                            \
    if (columns.up == UP && columns.down == DOWN)                                                    \
        return separable<T, UP, DOWN>(x, y, m, columns.before, rows.before, by_row, by_column, threads)
        SG_CASE(1, 1);
        SG_CASE(2, 1);
        SG_CASE(1, 2);
#undef SG_CASE
    }
    generic<T>(x, y, taps, kh, kw, m, columns, rows, threads);
}

}  // namespace

extern "C" int sg_resample(int dtype, const void* x, const void* taps, void* y, int64_t kh, int64_t kw,
                           const Image* m, const Axis* columns, const Axis* rows, int threads, void*) {
    switch (dtype) {
        case FLOAT32: resample<float>(x, taps, y, kh, kw, *m, *columns, *rows, threads); return 0;
        case BFLOAT16: resample<bf16>(x, taps, y, kh, kw, *m, *columns, *rows, threads); return 0;
        case FLOAT64: resample<double>(x, taps, y, kh, kw, *m, *columns, *rows, threads); return 0;
#ifdef SG_HAS_HALF
        case FLOAT16: resample<sg::half>(x, taps, y, kh, kw, *m, *columns, *rows, threads); return 0;
#endif
        default: return 1;
    }
}
