"""Images of several chunks at once, each made of the random numbers that it would have alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

Run = Callable[[Tensor, Tensor], Tensor]  # latents and labels -> images; draws its noise
Inputs = Callable[[int], tuple[Tensor, Tensor]]  # of a chunk; seeds the generators of its noise


class _NotByChunk(Exception):
    """Something is drawn that cannot be shared out."""


def images_of_chunks(
    run: Run, inputs: Inputs, chunks: Sequence[int], *, joins: bool, device: torch.device
) -> list[Tensor]:
    """The images of each chunk; `joins`: in one call, which fills a card and may round otherwise."""
    if joins and len(chunks) > 1:
        before = _state(device)
        try:
            return _joint(run, inputs, chunks, device)
        except _NotByChunk:
            _restore(device, before)
    return [run(*inputs(chunk)) for chunk in chunks]


def _joint(run: Run, inputs: Inputs, chunks: Sequence[int], device: torch.device) -> list[Tensor]:
    given, generators = [], []
    for chunk in chunks:
        given.append(inputs(chunk))
        generators.append(torch.Generator(device))
        generators[-1].set_state(_state(device))  # where this chunk's own noise begins
    z, c = (torch.cat(parts) for parts in zip(*given))
    sizes = [len(part) for part, _ in given]
    before = _state(device)
    with _ByChunk(generators, sizes):
        images = run(z, c)
    if not torch.equal(_state(device), before):
        raise _NotByChunk("numbers were drawn past us")
    return list(images.split(sizes))


class _ByChunk(TorchFunctionMode):
    """Within the block, normal noise for all images is drawn chunk by chunk, from the generator of each."""

    def __init__(self, generators: Sequence[torch.Generator], sizes: Sequence[int]) -> None:
        super().__init__()
        self._generators, self._sizes = generators, sizes

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if func is torch.randn_like and not options:
            return self._drawn(list(args[0].shape), {"dtype": args[0].dtype, "device": args[0].device})
        if func is torch.randn and "generator" not in options:
            shape = options.pop("size", None) or (args if isinstance(args[0], int) else args[0])
            return self._drawn(list(shape), options)
        return func(*args, **options)

    def _drawn(self, shape: list[int], options: dict[str, Any]) -> Tensor:
        n, *rest = shape
        if n != sum(self._sizes):
            raise _NotByChunk(f"noise of shape {shape}")
        parts = zip(self._generators, self._sizes)
        return torch.cat([torch.randn([size, *rest], generator=g, **options) for g, size in parts])


def _state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _restore(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)
