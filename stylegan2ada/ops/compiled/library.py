"""The C interface: records as the headers declare them, and calls with pointers of tensors."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_double, c_int, c_int64, c_void_p
from functools import cache
from typing import Any

import torch
from torch import Tensor

from stylegan2ada.ops import build

DTYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2, torch.float64: 3}


class Sizes(Structure):
    """Of an image [n, c, p], and which of the arguments are one for all samples."""

    _fields_ = [
        ("n", c_int64), ("c", c_int64), ("p", c_int64), ("channels_last", c_int),
        ("shift_rows", c_int), ("noise_rows", c_int), ("has_scale", c_int),
    ]  # fmt: skip


class Shape(Structure):
    """Of an activation."""

    _fields_ = [("act", c_int), ("alpha", c_double), ("gain", c_double), ("clamp", c_double)]


class Forward(Structure):
    _fields_ = [(name, c_void_p) for name in ("x", "scale", "shift", "noise", "y")]


class Backward(Structure):
    _fields_ = [(name, c_void_p) for name in ("dy", "y", "x", "scale", "dx", "sum_g", "sum_gx", "dnoise")]


class Second(Structure):
    _fields_ = [
        (name, c_void_p)
        for name in ("dy", "y", "x", "scale", "a", "b", "e", "f", "ddy", "x2", "sum_ga", "y2")
    ]


class Image(Structure):
    _fields_ = [(name, c_int64) for name in ("planes", "height", "width", "inner", "out_height", "out_width")]


class AxisRecord(Structure):
    _fields_ = [("up", c_int64), ("down", c_int64), ("before", c_int64)]


_ARGUMENTS: dict[str, list[Any]] = {  # of ctypes, between the type and threads, stream
    "sg_epilogue_forward": [POINTER(Forward), POINTER(Sizes), POINTER(Shape)],
    "sg_epilogue_backward": [POINTER(Backward), POINTER(Sizes), POINTER(Shape)],
    "sg_epilogue_second": [POINTER(Second), POINTER(Sizes), POINTER(Shape)],
    "sg_energy": [c_void_p, c_void_p, c_int64, c_int64],
    "sg_energy_times": [c_void_p, c_void_p, c_void_p, c_int64, c_int64],
    "sg_resample": [c_void_p, c_void_p, c_void_p, c_int64, c_int64, POINTER(Image), POINTER(AxisRecord),
                    POINTER(AxisRecord)],
}  # fmt: skip


@cache
def _library(path: str) -> ctypes.CDLL:
    loaded = ctypes.CDLL(path)
    for name, arguments in _ARGUMENTS.items():
        function = getattr(loaded, name)
        function.argtypes = [c_int, *arguments, c_int, c_void_p]
        function.restype = c_int
    return loaded


def knows(x: Tensor) -> bool:
    """Whether the kernels are there for this tensor's device and type. Never compiles."""
    return x.dtype in DTYPES and build.is_ready(x.device.type)


def call(name: str, like: Tensor, *arguments: object) -> None:
    """Run a kernel for tensors on the device and of the type of `like`."""
    path = build.library_path(like.device.type)
    threads, stream = 1, None
    if like.device.type == "cuda":
        stream = torch.cuda.current_stream(like.device).cuda_stream
        with torch.cuda.device(like.device):
            status = getattr(_library(path), name)(DTYPES[like.dtype], *arguments, threads, stream)
    else:
        threads = torch.get_num_threads()
        status = getattr(_library(path), name)(DTYPES[like.dtype], *arguments, threads, stream)
    if status:
        raise RuntimeError(f"{name} failed with status {status} for {like.dtype} on {like.device}")


def pointer(x: Tensor | None) -> int | None:
    """None for what is not there or not wanted."""
    return None if x is None or x.numel() == 0 else x.data_ptr()
