// The kernels as grids for CUDA: the arithmetic is elements.h's, what is new here is who does which element.
#include <algorithm>
#include <cuda_runtime.h>
#include "epilogue.h"

using namespace sg;

namespace {

constexpr int THREADS = 256;

// Elements of [n, c, p] in the order of memory.
struct Place {
    int64_t row, position;  // n * C + c, n * P + p
    int64_t n, c, p;
};

__device__ __forceinline__ Place place_of(int64_t i, const Sizes& s) {
    Place at;
    if (s.channels_last) {
        at.c = i % s.c;
        at.p = i / s.c % s.p;
    } else {
        at.p = i % s.p;
        at.c = i / s.p % s.c;
    }
    at.n = i / (s.c * s.p);
    at.row = at.n * s.c + at.c;
    at.position = at.n * s.p + at.p;
    return at;
}

// Where element (n, c, p) lies.
__device__ __forceinline__ int64_t index_of(int64_t n, int64_t c, int64_t p, const Sizes& s) {
    return s.channels_last ? (n * s.p + p) * s.c + c : (n * s.c + c) * s.p + p;
}

inline unsigned grid_for(int64_t work) {
    return static_cast<unsigned>(std::min<int64_t>((work + THREADS - 1) / THREADS, 65535 * 8));
}

#define SG_LOOP(i, total)                                                                    \
    for (int64_t i = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x; i < total; \
         i += static_cast<int64_t>(gridDim.x) * blockDim.x)

template <class T, bool CURVED> __global__ void forward(Forward f, Sizes s, Shape shape) {
    using A = typename Wide<T>::type;
    const How<A> h(shape);
    SG_LOOP(i, s.n * s.c * s.p) {
        const Place at = place_of(i, s);
        A u = A(read(static_cast<const T*>(f.x)[i]));
        if (f.scale) u *= static_cast<const A*>(f.scale)[at.row];
        A add = f.shift ? static_cast<const A*>(f.shift)[s.shift_rows > 1 ? at.row : at.c] : A(0);
        if (f.noise) add += A(read(static_cast<const T*>(f.noise)[s.noise_rows > 1 ? at.position : at.p]));
        put(static_cast<T*>(f.y)[i], activate<CURVED>(u + add, h));
    }
}

template <class T, bool CURVED> __global__ void put_dx(Backward q, Sizes s, Shape shape) {
    using A = typename Wide<T>::type;
    const How<A> h(shape);
    SG_LOOP(i, s.n * s.c * s.p) {
        A g = A(read(static_cast<const T*>(q.dy)[i])) * slope<CURVED>(A(read(static_cast<const T*>(q.y)[i])), h);
        if (q.scale) g *= static_cast<const A*>(q.scale)[place_of(i, s).row];
        put(static_cast<T*>(q.dx)[i], g);
    }
}

template <class A> __device__ A block_sum(A value) {
    __shared__ A kept[THREADS];
    kept[threadIdx.x] = value;
    __syncthreads();
    for (int step = THREADS / 2; step > 0; step /= 2) {
        if (threadIdx.x < step) kept[threadIdx.x] += kept[threadIdx.x + step];
        __syncthreads();
    }
    value = kept[0];
    __syncthreads();
    return value;
}

// Sums over positions, a block for each channel of a sample: of dy * slope and of the same times `other`.
// In a fixed order, so that a run repeats itself.
template <class T, bool CURVED>
__global__ void sum_positions(const T* dy, const T* y, const T* other, typename Wide<T>::type* sum_g,
                              typename Wide<T>::type* sum_gx, Sizes s, Shape shape) {
    using A = typename Wide<T>::type;
    const How<A> h(shape);
    for (int64_t row = blockIdx.x; row < s.n * s.c; row += gridDim.x) {
        A total = 0, with_other = 0;
        for (int64_t p = threadIdx.x; p < s.p; p += THREADS) {
            const int64_t i = index_of(row / s.c, row % s.c, p, s);
            const A g = A(read(dy[i])) * slope<CURVED>(A(read(y[i])), h);
            total += g;
            if (sum_gx) with_other += g * A(read(other[i]));
        }
        if (sum_g) {
            total = block_sum(total);
            if (threadIdx.x == 0) sum_g[row] = total;
        }
        if (sum_gx) {
            with_other = block_sum(with_other);
            if (threadIdx.x == 0) sum_gx[row] = with_other;
        }
    }
}

template <class T, bool CURVED> __global__ void sum_channels(Backward q, Sizes s, Shape shape) {
    using A = typename Wide<T>::type;
    const How<A> h(shape);
    SG_LOOP(place, s.n * s.p) {
        A total = 0;
        for (int64_t c = 0; c < s.c; c++) {
            const int64_t i = index_of(place / s.p, c, place % s.p, s);
            total += A(read(static_cast<const T*>(q.dy)[i])) *
                     slope<CURVED>(A(read(static_cast<const T*>(q.y)[i])), h);
        }
        static_cast<A*>(q.dnoise)[place] = total;
    }
}

template <class T, bool CURVED> __global__ void second(Second q, Sizes s, Shape shape) {
    using A = typename Wide<T>::type;
    const How<A> h(shape);
    const T *a = static_cast<const T*>(q.a), *x = static_cast<const T*>(q.x), *dy = static_cast<const T*>(q.dy);
    SG_LOOP(i, s.n * s.c * s.p) {
        const Place at = place_of(i, s);
        const A y = A(read(static_cast<const T*>(q.y)[i])), k = slope<CURVED>(y, h);
        const A b = q.b ? static_cast<const A*>(q.b)[at.row] : A(0);
        A t = a ? A(read(a[i])) : A(0);
        if (q.scale) t *= static_cast<const A*>(q.scale)[at.row];
        if (q.b && x) t += b * A(read(x[i]));
        if (q.e) t += static_cast<const A*>(q.e)[at.position];
        if (q.f) t += static_cast<const A*>(q.f)[at.row];
        put(static_cast<T*>(q.ddy)[i], k * t);
        if (q.x2) put(static_cast<T*>(q.x2)[i], A(read(dy[i])) * k * b);
        if (q.y2) put(static_cast<T*>(q.y2)[i], A(read(dy[i])) * slope_of_slope<CURVED>(y, h) * t);
    }
}

template <class T> __global__ void energy(const T* w, typename Wide<T>::type* out, int64_t rows, int64_t taps) {
    using A = typename Wide<T>::type;
    SG_LOOP(row, rows) {
        A total = 0;
        for (int64_t k = 0; k < taps; k++) total += A(read(w[row * taps + k])) * A(read(w[row * taps + k]));
        out[row] = total;
    }
}

template <class T>
__global__ void energy_times(const T* w, const typename Wide<T>::type* g, T* out, int64_t rows, int64_t taps) {
    using A = typename Wide<T>::type;
    SG_LOOP(i, rows * taps) put(out[i], A(2) * A(read(w[i])) * g[i / taps]);
}

struct Image {
    int64_t planes, height, width, inner, out_height, out_width;
};

// FACTOR and KERNEL of 0: as the arguments say. Known ones let the compiler unroll and drop the zeros.
template <class T, int UP, int DOWN, int TAPS>
__global__ void resample(const T* x, const typename Wide<T>::type* taps, T* y, int64_t kh, int64_t kw, Image m,
                         Axis columns, Axis rows) {
    using A = typename Wide<T>::type;
    if (UP) columns.up = rows.up = UP;
    if (DOWN) columns.down = rows.down = DOWN;
    const int64_t height = TAPS ? TAPS : kh, width = TAPS ? TAPS : kw;
    SG_LOOP(i, m.planes * m.out_height * m.out_width * m.inner) {
        const int64_t k = i % m.inner, column = i / m.inner % m.out_width;
        const int64_t row = i / (m.inner * m.out_width) % m.out_height;
        const int64_t plane = i / (m.inner * m.out_width * m.out_height);
        A total = 0;
#pragma unroll
        for (int64_t ty = 0; ty < height; ty++) {
            const int64_t from_row = sample_of(row, ty, rows, m.height);
            if (from_row < 0) continue;
#pragma unroll
            for (int64_t tx = 0; tx < width; tx++) {
                const int64_t from = sample_of(column, tx, columns, m.width);
                if (from < 0) continue;
                const int64_t at = ((plane * m.height + from_row) * m.width + from) * m.inner + k;
                total += taps[ty * width + tx] * A(read(x[at]));
            }
        }
        put(y[i], total);
    }
}

template <class T, bool CURVED> void run_backward(const Backward& q, const Sizes& s, const Shape& h, cudaStream_t on) {
    using A = typename Wide<T>::type;
    const int64_t rows = s.n * s.c;
    put_dx<T, CURVED><<<grid_for(rows * s.p), THREADS, 0, on>>>(q, s, h);
    if (q.sum_g || q.sum_gx)
        sum_positions<T, CURVED><<<static_cast<unsigned>(std::min<int64_t>(rows, 1 << 20)), THREADS, 0, on>>>(
            static_cast<const T*>(q.dy), static_cast<const T*>(q.y), static_cast<const T*>(q.x),
            static_cast<A*>(q.sum_g), static_cast<A*>(q.sum_gx), s, h);
    if (q.dnoise) sum_channels<T, CURVED><<<grid_for(s.n * s.p), THREADS, 0, on>>>(q, s, h);
}

template <class T, bool CURVED> void run_second(const Second& q, const Sizes& s, const Shape& h, cudaStream_t on) {
    using A = typename Wide<T>::type;
    const int64_t rows = s.n * s.c;
    second<T, CURVED><<<grid_for(rows * s.p), THREADS, 0, on>>>(q, s, h);
    if (q.sum_ga)
        sum_positions<T, CURVED><<<static_cast<unsigned>(std::min<int64_t>(rows, 1 << 20)), THREADS, 0, on>>>(
            static_cast<const T*>(q.dy), static_cast<const T*>(q.y), static_cast<const T*>(q.a),
            static_cast<A*>(nullptr), static_cast<A*>(q.sum_ga), s, h);
}

template <class T>
void run_resample(const void* x, const void* taps, void* y, int64_t kh, int64_t kw, const Image& m,
                  const Axis& columns, const Axis& rows, cudaStream_t on) {
    using A = typename Wide<T>::type;
    const unsigned grid = grid_for(m.planes * m.out_height * m.out_width * m.inner);
    const bool alike = columns.up == rows.up && columns.down == rows.down && kh == 4 && kw == 4;
#define SG_RUN(UP, DOWN, TAPS)                                                                              \
    return resample<T, UP, DOWN, TAPS><<<grid, THREADS, 0, on>>>(static_cast<const T*>(x),                  \
        static_cast<const A*>(taps), static_cast<T*>(y), kh, kw, m, columns, rows)
    if (alike && columns.up == 1 && columns.down == 1) SG_RUN(1, 1, 4);
    if (alike && columns.up == 2 && columns.down == 1) SG_RUN(2, 1, 4);
    if (alike && columns.up == 1 && columns.down == 2) SG_RUN(1, 2, 4);
    SG_RUN(0, 0, 0);
#undef SG_RUN
}

}  // namespace

#define SG_BY_TYPE(CALL)                                 \
    const cudaStream_t on = static_cast<cudaStream_t>(stream); \
    switch (dtype) {                                     \
        case FLOAT32: { using T = float; CALL; } break;  \
        case BFLOAT16: { using T = bf16; CALL; } break;  \
        case FLOAT16: { using T = sg::half; CALL; } break; \
        case FLOAT64: { using T = double; CALL; } break; \
        default: return 1;                               \
    }                                                    \
    return static_cast<int>(cudaGetLastError())

extern "C" {

int sg_epilogue_forward(int dtype, const Forward* f, const Sizes* s, const Shape* h, int, void* stream) {
    const unsigned grid = grid_for(s->n * s->c * s->p);
    if (h->act == BENT) { SG_BY_TYPE((forward<T, false><<<grid, THREADS, 0, on>>>(*f, *s, *h))); }
    SG_BY_TYPE((forward<T, true><<<grid, THREADS, 0, on>>>(*f, *s, *h)));
}

int sg_epilogue_backward(int dtype, const Backward* q, const Sizes* s, const Shape* h, int, void* stream) {
    if (h->act == BENT) { SG_BY_TYPE((run_backward<T, false>(*q, *s, *h, on))); }
    SG_BY_TYPE((run_backward<T, true>(*q, *s, *h, on)));
}

int sg_epilogue_second(int dtype, const Second* q, const Sizes* s, const Shape* h, int, void* stream) {
    if (h->act == BENT) { SG_BY_TYPE((run_second<T, false>(*q, *s, *h, on))); }
    SG_BY_TYPE((run_second<T, true>(*q, *s, *h, on)));
}

int sg_energy(int dtype, const void* w, void* out, int64_t rows, int64_t taps, int, void* stream) {
    SG_BY_TYPE((energy<T><<<grid_for(rows), THREADS, 0, on>>>(
        static_cast<const T*>(w), static_cast<typename Wide<T>::type*>(out), rows, taps)));
}

int sg_energy_times(int dtype, const void* w, const void* g, void* out, int64_t rows, int64_t taps, int,
                    void* stream) {
    SG_BY_TYPE((energy_times<T><<<grid_for(rows * taps), THREADS, 0, on>>>(
        static_cast<const T*>(w), static_cast<const typename Wide<T>::type*>(g), static_cast<T*>(out), rows, taps)));
}

int sg_resample(int dtype, const void* x, const void* taps, void* y, int64_t kh, int64_t kw, const Image* m,
                const Axis* columns, const Axis* rows, int, void* stream) {
    SG_BY_TYPE((run_resample<T>(x, taps, y, kh, kw, *m, *columns, *rows, on)));
}

int sg_version() { return 1; }

}  // extern "C"
