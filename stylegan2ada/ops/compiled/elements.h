// The arithmetic of one element, the same text for every device: what the CPU build proves holds for CUDA.
// Numbers are read in their type, computed in float (double for double) and rounded once.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#define SG_FN __host__ __device__ __forceinline__
#else
#define SG_FN inline __attribute__((always_inline))
#endif

namespace sg {

// Types, by the numbers that Python gives them.
enum DType { FLOAT32 = 0, BFLOAT16 = 1, FLOAT16 = 2, FLOAT64 = 3 };

#ifdef __CUDACC__
using bf16 = __nv_bfloat16;
using half = __half;
#define SG_HAS_HALF 1
SG_FN float read(const bf16& v) { return __bfloat162float(v); }
SG_FN float read(const half& v) { return __half2float(v); }
SG_FN void put(bf16& to, float v) { to = __float2bfloat16(v); }
SG_FN void put(half& to, float v) { to = __float2half(v); }
#else
struct bf16 { uint16_t bits; };
SG_FN float read(const bf16& v) {
    uint32_t wide = static_cast<uint32_t>(v.bits) << 16;
    float out;
    std::memcpy(&out, &wide, 4);
    return out;
}
SG_FN void put(bf16& to, float v) {  // to the nearest, ties to even; a NaN stays one
    uint32_t wide;
    std::memcpy(&wide, &v, 4);
    const uint32_t rounded = (wide + 0x7fffu + ((wide >> 16) & 1u)) >> 16;
    const uint32_t nan = 0u - static_cast<uint32_t>((wide & 0x7fffffffu) > 0x7f800000u);  // a branch is slow
    to.bits = static_cast<uint16_t>((rounded & ~nan) | (0x7fc0u & nan));
}
#ifdef __FLT16_MANT_DIG__
#define SG_HAS_HALF 1
using half = _Float16;
SG_FN float read(const half& v) { return static_cast<float>(v); }
SG_FN void put(half& to, float v) { to = static_cast<half>(v); }
#endif
#endif
SG_FN float read(const float& v) { return v; }
SG_FN double read(const double& v) { return v; }
SG_FN void put(float& to, float v) { to = v; }
SG_FN void put(double& to, double v) { to = v; }

template <class T> struct Wide { using type = float; };
template <> struct Wide<double> { using type = double; };

// Activations. The three without curvature are one: linear has alpha 1, relu 0.
enum Act { BENT = 0, TANH = 1, SIGMOID = 2, ELU = 3, SELU = 4, SOFTPLUS = 5 };

struct Shape {  // of an activation: clip(gain * phi(u), -clamp, clamp)
    int act;
    double alpha, gain, clamp;  // clamp < 0: none
};

// The same in the type of the sum.
template <class A> struct How {
    int act;
    A alpha, gain, clamp;
    SG_FN How(const Shape& s)
        : act(s.act), alpha(A(s.alpha)), gain(A(s.gain)), clamp(s.clamp < 0 ? A(INFINITY) : A(s.clamp)) {}
};

template <class A> SG_FN A selu_scale() { return A(1.0507009873554805); }
template <class A> SG_FN A selu_alpha() { return A(1.6732632423543772); }

template <class A> SG_FN A curved(A u, const How<A>& h) {
    switch (h.act) {
        case TANH: return std::tanh(u);
        case SIGMOID: return A(1) / (A(1) + std::exp(-u));
        case ELU: return u > A(0) ? u : std::expm1(u);
        case SELU: return selu_scale<A>() * (u > A(0) ? u : selu_alpha<A>() * std::expm1(u));
        default: return u > A(20) ? u : std::log1p(std::exp(u));  // softplus
    }
}

// NaN passes: a comparison with it is false, and then the value stays.
template <class A> SG_FN A clip(A y, A limit) {
    y = y > limit ? limit : y;
    return y < -limit ? -limit : y;
}

template <bool CURVED, class A> SG_FN A activate(A u, const How<A>& h) {
    if (CURVED) return clip(curved(u, h) * h.gain, h.clamp);
    return clip((u > A(0) ? u : u * h.alpha) * h.gain, h.clamp);
}

// d y / d u from y itself; 0 where the limit was reached.
template <bool CURVED, class A> SG_FN A slope(A y, const How<A>& h) {
    A found;
    if (!CURVED) {
        found = y > A(0) ? h.gain : h.alpha * h.gain;
    } else {
        A v = y / h.gain;
        switch (h.act) {
            case TANH: found = (A(1) - v * v) * h.gain; break;
            case SIGMOID: found = v * (A(1) - v) * h.gain; break;
            case ELU: found = (v < A(0) ? v + A(1) : A(1)) * h.gain; break;
            case SELU: {
                A scale = selu_scale<A>();
                found = (v < A(0) ? v + scale * selu_alpha<A>() : scale) * h.gain;
                break;
            }
            default: found = -std::expm1(-v) * h.gain;
        }
    }
    return std::fabs(y) < h.clamp ? found : A(0);
}

// d slope / d y; the bent ones have none.
template <bool CURVED, class A> SG_FN A slope_of_slope(A y, const How<A>& h) {
    if (!CURVED) return A(0);
    A v = y / h.gain, found;
    switch (h.act) {
        case TANH: found = A(-2) * v; break;
        case SIGMOID: found = A(1) - A(2) * v; break;
        case ELU: case SELU: found = v < A(0) ? A(1) : A(0); break;
        default: found = std::exp(-v);
    }
    return std::fabs(y) < h.clamp ? found : A(0);
}

// Along one axis of a resampling: zeros between samples, padding, filter, every down-th.
struct Axis {
    int64_t up, down, before;  // before < 0 crops
};

// The sample that tap t of output j reads, or -1: it is padding, or a zero in between.
SG_FN int64_t sample_of(int64_t j, int64_t t, const Axis& a, int64_t size) {
    int64_t place = j * a.down + t - a.before;
    if (place < 0 || place % a.up != 0) return -1;
    place /= a.up;
    return place < size ? place : -1;
}

}  // namespace sg
