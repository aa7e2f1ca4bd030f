// The kernels as loops for CPUs. Sums are formed over fixed blocks and added in their order, so that results
// do not depend on the number of threads.
#include <algorithm>
#include <vector>
#include "epilogue.h"

using namespace sg;

namespace {

constexpr int64_t BLOCK = 4096;  // elements of a plane, or of channels_last pixels, that one task takes

template <class A> A* sums(std::vector<A>& store, bool wanted, int64_t size) {
    if (wanted) store.assign(size, A(0));
    return wanted ? store.data() : nullptr;
}

// How n images are cut: tasks of one image and `step` of its positions.
struct Cut {
    int64_t step, blocks;
    Cut(const Sizes& s) {
        step = s.channels_last ? std::max<int64_t>(BLOCK / std::max<int64_t>(s.c, 1), 1) : BLOCK;
        if (s.channels_last) step = std::max(step, std::max<int64_t>(s.p / 16, 1));  // few partial sums
        blocks = (s.p + step - 1) / step;
    }
};

// Adds the blocks' sums, [n, blocks, c] -> [n, c].
template <class A> void collect(const std::vector<A>& parts, void* out, const Sizes& s, int64_t blocks) {
    if (!out) return;
    A* to = static_cast<A*>(out);
    for (int64_t n = 0; n < s.n; n++)
        for (int64_t c = 0; c < s.c; c++) {
            double total = 0;
            for (int64_t k = 0; k < blocks; k++) total += parts[(n * blocks + k) * s.c + c];
            to[n * s.c + c] = A(total);
        }
}

// Lines: elements that lie side by side. Not inlined, with what is one number for a line by value: so that
// compilers see plain loops. `m`, `b` run along channels, `z` and sums over channels along positions.
#define SG_LINE template <class T, bool CURVED, class A> __attribute__((noinline))
#define SG_EACH _Pragma("omp simd") for (int64_t i = 0; i < count; i++)
#define SG_G(i) (A(read(dy[i])) * slope<CURVED>(A(read(y[i])), h))

SG_LINE void forward_along_p(const T* x, T* y, int64_t count, A m, A b, How<A> h) {
    SG_EACH put(y[i], activate<CURVED>(A(read(x[i])) * m + b, h));
}
SG_LINE void forward_along_p(const T* x, T* y, int64_t count, A m, A b, const T* z, How<A> h) {
    SG_EACH put(y[i], activate<CURVED>(A(read(x[i])) * m + (A(read(z[i])) + b), h));
}
SG_LINE void forward_along_c(const T* x, T* y, int64_t count, const A* m, const A* b, A z, How<A> h) {
    if (m && b) SG_EACH put(y[i], activate<CURVED>(A(read(x[i])) * m[i] + (z + b[i]), h));
    else if (m) SG_EACH put(y[i], activate<CURVED>(A(read(x[i])) * m[i] + z, h));
    else if (b) SG_EACH put(y[i], activate<CURVED>(A(read(x[i])) + (z + b[i]), h));
    else SG_EACH put(y[i], activate<CURVED>(A(read(x[i])) + z, h));
}
SG_LINE A sum_of_g(const T* dy, const T* y, int64_t count, How<A> h) {
    A total = 0;
    _Pragma("omp simd reduction(+ : total)") for (int64_t i = 0; i < count; i++) total += SG_G(i);
    return total;
}
SG_LINE A sum_of_gx(const T* dy, const T* y, const T* x, int64_t count, How<A> h) {
    A total = 0;
    _Pragma("omp simd reduction(+ : total)") for (int64_t i = 0; i < count; i++) total += SG_G(i) * A(read(x[i]));
    return total;
}
SG_LINE void add_g(const T* dy, const T* y, A* to, int64_t count, How<A> h) { SG_EACH to[i] += SG_G(i); }
SG_LINE void add_gx(const T* dy, const T* y, const T* x, A* to, int64_t count, How<A> h) {
    SG_EACH to[i] += SG_G(i) * A(read(x[i]));
}
SG_LINE void put_dx(const T* dy, const T* y, T* dx, int64_t count, A m, How<A> h) { SG_EACH put(dx[i], SG_G(i) * m); }
SG_LINE void put_dx(const T* dy, const T* y, T* dx, int64_t count, const A* m, How<A> h) {
    SG_EACH put(dx[i], SG_G(i) * m[i]);
}
SG_LINE void put_times_slope(const A* t, const T* y, T* to, int64_t count, How<A> h) {
    SG_EACH put(to[i], slope<CURVED>(A(read(y[i])), h) * t[i]);
}
SG_LINE void put_bend(const A* t, const T* dy, const T* y, T* to, int64_t count, How<A> h) {
    SG_EACH put(to[i], A(read(dy[i])) * slope_of_slope<CURVED>(A(read(y[i])), h) * t[i]);
}
template <class T, class A> __attribute__((noinline)) void add_product(A* t, const T* a, A m, int64_t count) {
    SG_EACH t[i] += A(read(a[i])) * m;
}
template <class T, class A> __attribute__((noinline)) void add_product(A* t, const T* a, const A* m, int64_t count) {
    SG_EACH t[i] += A(read(a[i])) * m[i];
}
template <class A> __attribute__((noinline)) void add_line(A* t, const A* f, int64_t count) { SG_EACH t[i] += f[i]; }
template <class A> __attribute__((noinline)) void add_number(A* t, A f, int64_t count) { SG_EACH t[i] += f; }

template <class T, bool CURVED> void forward(const Forward& f, const Sizes& s, const Shape& shape, int threads) {
    using A = typename Wide<T>::type;
    const How<A> h(shape);
    const T *x = static_cast<const T*>(f.x), *noise = static_cast<const T*>(f.noise);
    const A *scale = static_cast<const A*>(f.scale), *shift = static_cast<const A*>(f.shift);
    T* y = static_cast<T*>(f.y);
    const Cut cut(s);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t task = 0; task < s.n * cut.blocks; task++) {
        const int64_t n = task / cut.blocks, first = task % cut.blocks * cut.step;
        const int64_t count = std::min(cut.step, s.p - first);
        const T* z = noise ? noise + (s.noise_rows > 1 ? n * s.p : 0) + first : nullptr;
        const A* b = shift ? shift + (s.shift_rows > 1 ? n * s.c : 0) : nullptr;
        const A* m = scale ? scale + n * s.c : nullptr;
        if (s.channels_last) {
            for (int64_t p = 0; p < count; p++) {
                const int64_t at = (n * s.p + first + p) * s.c;
                forward_along_c<T, CURVED>(x + at, y + at, s.c, m, b, z ? A(read(z[p])) : A(0), h);
            }
            continue;
        }
        for (int64_t c = 0; c < s.c; c++) {
            const int64_t at = (n * s.c + c) * s.p + first;
            const A mul = m ? m[c] : A(1), add = b ? b[c] : A(0);
            if (z) forward_along_p<T, CURVED>(x + at, y + at, count, mul, add, z, h);
            else forward_along_p<T, CURVED>(x + at, y + at, count, mul, add, h);
        }
    }
}

template <class T, bool CURVED> void backward(const Backward& q, const Sizes& s, const Shape& shape, int threads) {
    using A = typename Wide<T>::type;
    const How<A> h(shape);
    const T *dy = static_cast<const T*>(q.dy), *y = static_cast<const T*>(q.y), *x = static_cast<const T*>(q.x);
    const A* scale = static_cast<const A*>(q.scale);
    T* dx = static_cast<T*>(q.dx);
    A* dnoise = static_cast<A*>(q.dnoise);
    const Cut cut(s);
    std::vector<A> store_g, store_gx;
    A* part_g = sums(store_g, q.sum_g, s.n * cut.blocks * s.c);
    A* part_gx = sums(store_gx, q.sum_gx, s.n * cut.blocks * s.c);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t task = 0; task < s.n * cut.blocks; task++) {
        const int64_t n = task / cut.blocks, first = task % cut.blocks * cut.step;
        const int64_t count = std::min(cut.step, s.p - first);
        const A* m = scale ? scale + n * s.c : nullptr;
        A* const over_c = dnoise ? dnoise + n * s.p + first : nullptr;
        A* const to_g = part_g ? part_g + task * s.c : nullptr;
        A* const to_gx = part_gx ? part_gx + task * s.c : nullptr;
        for (int64_t p = 0; s.channels_last && p < count; p++) {
            const int64_t at = (n * s.p + first + p) * s.c;
            if (m) put_dx<T, CURVED>(dy + at, y + at, dx + at, s.c, m, h);
            else put_dx<T, CURVED>(dy + at, y + at, dx + at, s.c, A(1), h);
            if (to_gx) add_gx<T, CURVED>(dy + at, y + at, x + at, to_gx, s.c, h);
            if (to_g) add_g<T, CURVED>(dy + at, y + at, to_g, s.c, h);
            if (over_c) over_c[p] = sum_of_g<T, CURVED>(dy + at, y + at, s.c, h);
        }
        for (int64_t c = 0; !s.channels_last && c < s.c; c++) {
            const int64_t at = (n * s.c + c) * s.p + first;
            put_dx<T, CURVED>(dy + at, y + at, dx + at, count, m ? m[c] : A(1), h);
            if (to_g) to_g[c] = sum_of_g<T, CURVED>(dy + at, y + at, count, h);
            if (to_gx) to_gx[c] = sum_of_gx<T, CURVED>(dy + at, y + at, x + at, count, h);
            if (over_c) add_g<T, CURVED>(dy + at, y + at, over_c, count, h);  // zeros at first
        }
    }
    collect(store_g, q.sum_g, s, cut.blocks);
    collect(store_gx, q.sum_gx, s, cut.blocks);
}

template <class T, bool CURVED> void second(const Second& q, const Sizes& s, const Shape& shape, int threads) {
    using A = typename Wide<T>::type;
    const How<A> h(shape);
    const T *dy = static_cast<const T*>(q.dy), *y = static_cast<const T*>(q.y), *x = static_cast<const T*>(q.x);
    const T* a = static_cast<const T*>(q.a);
    const A *scale = static_cast<const A*>(q.scale), *b = static_cast<const A*>(q.b);
    const A *e = static_cast<const A*>(q.e), *f = static_cast<const A*>(q.f);
    T *ddy = static_cast<T*>(q.ddy), *x2 = static_cast<T*>(q.x2), *y2 = static_cast<T*>(q.y2);
    const Cut cut(s);
    std::vector<A> store;
    A* part = sums(store, q.sum_ga, s.n * cut.blocks * s.c);
    const bool last = s.channels_last;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        std::vector<A> line(std::max(s.c, cut.step));
#pragma omp for schedule(static)
        for (int64_t task = 0; task < s.n * cut.blocks; task++) {
            const int64_t n = task / cut.blocks, first = task % cut.blocks * cut.step;
            const int64_t positions = std::min(cut.step, s.p - first);
            const int64_t runs = last ? positions : s.c, count = last ? s.c : positions;
            for (int64_t r = 0; r < runs; r++) {
                const int64_t at = last ? (n * s.p + first + r) * s.c : (n * s.c + r) * s.p + first;
                const int64_t row = n * s.c + (last ? 0 : r), place = n * s.p + first + (last ? r : 0);
                A* const t = line.data();
                std::fill(t, t + count, A(0));
                if (a && scale && last) add_product(t, a + at, scale + row, count);
                else if (a) add_product(t, a + at, scale ? scale[row] : A(1), count);
                if (b && x && last) add_product(t, x + at, b + row, count);
                else if (b && x) add_product(t, x + at, b[row], count);
                if (e && last) add_number(t, e[place], count);
                else if (e) add_line(t, e + place, count);
                if (f && last) add_line(t, f + row, count);
                else if (f) add_number(t, f[row], count);
                put_times_slope<T, CURVED>(t, y + at, ddy + at, count, h);
                if (y2) put_bend<T, CURVED>(t, dy + at, y + at, y2 + at, count, h);
                if (x2 && last) put_dx<T, CURVED>(dy + at, y + at, x2 + at, count, b + row, h);
                else if (x2) put_dx<T, CURVED>(dy + at, y + at, x2 + at, count, b[row], h);
                if (part && last) add_gx<T, CURVED>(dy + at, y + at, a + at, part + task * s.c, count, h);
                else if (part) part[task * s.c + r] = sum_of_gx<T, CURVED>(dy + at, y + at, a + at, count, h);
            }
        }
    }
    collect(store, q.sum_ga, s, cut.blocks);
}

// Sum of squares over the last axis, [rows, taps] -> [rows], and its gradient 2 w g.
template <class T> void energy(const void* w_, void* out_, int64_t rows, int64_t taps, int threads) {
    using A = typename Wide<T>::type;
    const T* w = static_cast<const T*>(w_);
    A* out = static_cast<A*>(out_);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        A total = 0;
        for (int64_t k = 0; k < taps; k++) total += A(read(w[r * taps + k])) * A(read(w[r * taps + k]));
        out[r] = total;
    }
}

template <class T> void energy_times(const void* w_, const void* g_, void* out_, int64_t rows, int64_t taps, int threads) {
    using A = typename Wide<T>::type;
    const T* w = static_cast<const T*>(w_);
    const A* g = static_cast<const A*>(g_);
    T* out = static_cast<T*>(out_);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < taps; k++) put(out[r * taps + k], A(2) * A(read(w[r * taps + k])) * g[r]);
}

}  // namespace

// Calls by type: F<T, CURVED>(...) or F<T>(...).
#ifdef SG_HAS_HALF
#define SG_HALF_CASE(CALL) case FLOAT16: { using T = sg::half; CALL; } break;
#else
#define SG_HALF_CASE(CALL)
#endif
#define SG_BY_TYPE(CALL)                               \
    switch (dtype) {                                   \
        case FLOAT32: { using T = float; CALL; } break; \
        case BFLOAT16: { using T = bf16; CALL; } break; \
        case FLOAT64: { using T = double; CALL; } break; \
        SG_HALF_CASE(CALL)                             \
        default: return 1;                             \
    }                                                  \
    return 0

extern "C" {

int sg_epilogue_forward(int dtype, const Forward* f, const Sizes* s, const Shape* h, int threads, void*) {
    if (h->act == BENT) { SG_BY_TYPE((forward<T, false>(*f, *s, *h, threads))); }
    SG_BY_TYPE((forward<T, true>(*f, *s, *h, threads)));
}

int sg_epilogue_backward(int dtype, const Backward* f, const Sizes* s, const Shape* h, int threads, void*) {
    if (h->act == BENT) { SG_BY_TYPE((backward<T, false>(*f, *s, *h, threads))); }
    SG_BY_TYPE((backward<T, true>(*f, *s, *h, threads)));
}

int sg_epilogue_second(int dtype, const Second* f, const Sizes* s, const Shape* h, int threads, void*) {
    if (h->act == BENT) { SG_BY_TYPE((second<T, false>(*f, *s, *h, threads))); }
    SG_BY_TYPE((second<T, true>(*f, *s, *h, threads)));
}

int sg_energy(int dtype, const void* w, void* out, int64_t rows, int64_t taps, int threads, void*) {
    SG_BY_TYPE(energy<T>(w, out, rows, taps, threads));
}

int sg_energy_times(int dtype, const void* w, const void* g, void* out, int64_t rows, int64_t taps, int threads, void*) {
    SG_BY_TYPE(energy_times<T>(w, g, out, rows, taps, threads));
}

int sg_version() { return 1; }

}  // extern "C"
