"""Networks that travel in pickles; here only the recorder of constructor arguments.

The files beside this one import torch, numpy and one seam: their text also runs in an official checkout.
"""

from __future__ import annotations

import copy
import functools
from typing import Any, TypeVar

Class = TypeVar("Class", bound=type)


def persistent_class(cls: Class) -> Class:
    """The same class, whose instances remember how they were built (`init_args`, `init_kwargs`).

    The arguments are copied before the constructor runs: what is recorded is what the caller gave, even if a
    dict changes later. Of a chain of decorated constructors the outermost is recorded.
    """
    marked: Any = cls  # gets what type checkers do not know of
    build = marked.__init__

    @functools.wraps(build)
    def build_and_record(self: Any, *args: Any, **kwargs: Any) -> None:
        given = copy.deepcopy((args, kwargs))
        build(self, *args, **kwargs)
        self._init_args, self._init_kwargs = given

    marked.__init__ = build_and_record
    marked.init_args = property(lambda self: copy.deepcopy(self._init_args))
    marked.init_kwargs = property(lambda self: copy.deepcopy(self._init_kwargs))
    return cls
