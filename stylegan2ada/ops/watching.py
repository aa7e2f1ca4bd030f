"""Looks on while work is done, and says what a recording of it would lose: values that reach the host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_ATEN = torch.ops.aten


class Watch(TorchDispatchMode):
    """Within the block, `findings` collects sentences; all is computed as it would be without it.

    What the host knows already, such as a number of the program made a tensor and read again, is no finding.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.findings: list[str] = []
        self._device_type = device.type
        self._constants: dict[int, Tensor] = {}  # by id; kept, so that no id is used twice

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        given, made = list(_tensors([*args, *kwargs.values()])), list(_tensors([result]))
        # Made of the program's numbers alone, and not by chance: the same in every iteration.
        is_known = func is _ATEN.lift_fresh.default or all(id(t) in self._constants for t in given)
        is_constant = is_known and not _draws(func)
        for tensor in made:  # a tensor that was changed in place may be a constant no longer
            self._constants.pop(id(tensor), None)
            if is_constant:
                self._constants[id(tensor)] = tensor
        is_of_host = all(t.device.type == "cpu" for t in [*given, *made])
        if not (is_constant and is_of_host) and (finding := self._finding(func, given, made)) is not None:
            self.findings.append(finding)
        return result

    def _finding(self, func: Any, given: list[Tensor], made: list[Tensor]) -> str | None:
        name = str(func).removesuffix(".default")
        if torch.Tag.data_dependent_output in func.tags or torch.Tag.dynamic_output_shape in func.tags:
            return f"it reads a value back from the device ({name})"
        elsewhere = [t for t in [*given, *made] if t.device.type != self._device_type]
        if not elsewhere:
            return None
        if len(elsewhere) < len(given) + len(made) and func in _COPIES:
            return f"it copies between host and device ({name})"
        if all(id(t) in self._constants for t in elsewhere):
            return None  # a number that does not change
        return f"it computes on the host ({name})"


_COPIES = {_ATEN._to_copy.default, _ATEN.copy_.default, _ATEN.copy.default}


def _draws(func: Any) -> bool:
    return torch.Tag.nondeterministic_seeded in func.tags or func is _ATEN.empty.memory_format


def _tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
