// What the epilogue's three passes are given, on any device.
// x is [n, c, p] with p innermost, or with c innermost where channels_last.
#pragma once
#include "elements.h"

namespace sg {

struct Sizes {
    int64_t n, c, p;
    int channels_last;
    int shift_rows, noise_rows;  // 1: the same for all samples, n: one each, 0: none
    int has_scale;
};

// y = clip(gain * phi(x * scale[n, c] + noise[n, p] + shift[n, c]))
struct Forward {
    const void *x, *scale, *shift, *noise;
    void* y;
};

// g = dy * slope(y). dx = g * scale; sums over p: of g and of g * x; sum over c: of g.
struct Backward {
    const void *dy, *y, *x, *scale;
    void *dx, *sum_g, *sum_gx, *dnoise;  // null: not wanted; sums are [n, c] and [n, p], of the wide type
};

// The gradients of Backward's sums by dy, x, scale and y: with cotangents a of dx, b of sum_gx, e of dnoise
// and f of sum_g, t = a * scale + b * x + e + f:
// ddy = slope * t, x2 = dy * slope * b, sum over p of dy * slope * a, y2 = dy * slope' * t.
struct Second {
    const void *dy, *y, *x, *scale, *a, *b, *e, *f;  // null: zero
    void *ddy, *x2, *sum_ga, *y2;  // null: not wanted
};

}  // namespace sg
