"""A pickle reader that only knows data: it imports nothing and calls only the functions it was given.

Python's own unpickler asks permission per global and trusts the rest (class instantiation, claimed sizes,
hashing of arbitrary keys). Files here come from strangers, so each opcode is on a list of its own instead.
"""

from __future__ import annotations

import io
import pickletools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from stylegan2ada.official_names import Name

T = TypeVar("T")
# Measured on a file of the size of stylegan2-ffhq-config-f (1024x1024, 382 MB), the largest official one:
# 64 thousand operations, 75 thousand steps, one byte handled per byte of the file. Allowed is ten times that.
MAX_STEPS = 750_000
MAX_HANDLED = 10  # bytes per byte of the file
MAX_INT_BITS = 256  # generator states and torch's magic number; anything longer is no configuration
_TRIPS = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError, EOFError, struct.error)
MAX_KEY = 2**60  # whole numbers beyond the hash's modulus (2^61 - 1) can be made to collide


class Budget:
    """What a file may cost, whatever it says; one for all pickles in it, counted down."""

    def __init__(self, size: int, *, steps: int = MAX_STEPS) -> None:
        self.steps = steps  # pickle operations, and entries of what functions are given
        self.bytes = MAX_HANDLED * size + (1 << 16)  # that functions are given; copies, at worst

    def charge(self, value: object) -> None:
        """One value that somebody is about to look through."""
        if isinstance(value, str | bytes):
            self.bytes -= len(value)
        elif isinstance(value, list | tuple | dict | set):
            self.steps -= len(value)
        self.check()

    def check(self) -> None:
        if self.steps < 0 or self.bytes < 0:
            raise Unreadable("it takes more work to read than ten of the largest networks")


class Unreadable(Exception):  # noqa: N818 - a reason, not yet the sentence for the user
    """Why a file is refused; the caller adds which file and what to do."""


@dataclass(frozen=True)
class Global:
    """An allowed name, as an inert token."""

    name: Name


@runtime_checkable
class TakesState(Protocol):
    """What the BUILD opcode may be applied to."""

    def set_state(self, state: object) -> None: ...


@dataclass(frozen=True)
class Vocabulary:
    """All that a pickle may mention beyond plain data."""

    calls: Mapping[
        Name, Callable[..., object]
    ]  # REDUCE: our function for the name, given the pickled arguments
    instances: Mapping[Name, Callable[[], object]]  # NEWOBJ without arguments
    tokens: frozenset[Name] = frozenset()  # names that only appear as arguments
    persistent: Callable[[object], object] | None = None  # BINPERSID

    def allows(self, name: Name) -> bool:
        return name in self.calls or name in self.instances or name in self.tokens


def shown(value: object) -> str:
    """A short, printable form of anything a file may contain; containers are not walked."""
    if isinstance(value, str | bytes):
        # Cut: it ends in a message, and a file may hold megabytes of text.
        return repr(value[:80])
    if (
        value is None
        or isinstance(value, bool | float)
        or (isinstance(value, int) and value.bit_length() < 128)
    ):
        return repr(value)
    return f"a {type(value).__name__}"


def read_pickle(stream: io.BytesIO, vocabulary: Vocabulary, budget: Budget) -> object:
    """The value of the pickle that starts at the stream's position; leaves the stream right behind it."""
    machine = _Machine(stream, vocabulary, budget)
    try:
        # genops decodes and bounds-checks each opcode's argument; what an opcode means is decided here.
        for opcode, argument, _ in pickletools.genops(stream):
            budget.steps -= 1
            if budget.steps < 0:
                budget.check()
            step = _STEPS.get(opcode.name)
            if step is None:
                raise Unreadable(f"it uses the pickle operation {opcode.name}, which no network file needs")
            step(machine, argument)
    except Unreadable:
        raise
    except (
        ArithmeticError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
        EOFError,
        struct.error,
    ) as error:
        # Whatever the decoder, a function or the stack trips over is a broken file; its text may quote it.
        raise Unreadable(f"its pickle stream is broken or cut off ({shown(str(error))})") from error
    if machine.outer or len(machine.stack) != 1:
        raise Unreadable("its pickle stream ends with values left over")
    return machine.stack.pop()


class _Machine:
    """Stack and memo; everything on the stack is plain data, a Global, or made by the vocabulary."""

    def __init__(self, stream: io.BytesIO, vocabulary: Vocabulary, budget: Budget) -> None:
        self.stream = stream
        self.vocabulary = vocabulary
        self.budget = budget
        self.stack: list[object] = []
        self.outer: list[list[object]] = []  # stacks set aside by MARK
        self.memo: dict[int, object] = {}  # a dict: a huge claimed index costs nothing

    def pop_marked(self) -> list[object]:
        items, self.stack = self.stack, self.outer.pop()
        return items

    def pop_many(self, n: int) -> list[object]:
        # A slice would quietly come out shorter.
        if len(self.stack) < n:
            raise Unreadable("its pickle stream takes values that were never put down")
        # Not [-n:], which is everything where n is 0.
        items = self.stack[len(self.stack) - n :]
        del self.stack[len(self.stack) - n :]
        return items

    def top(self, kind: type[T]) -> T:
        value = self.stack[-1]
        # Not of a subclass either: nothing that the vocabulary made may be filled by the back door.
        if not isinstance(value, kind) or type(value) is not kind:
            raise Unreadable(f"its pickle stream fills {shown(value)} as if it were a {kind.__name__}")
        return value

    def push_global(self, module: object, attribute: object) -> None:
        if type(module) is not str or type(attribute) is not str:
            raise Unreadable("it refers to a global by something that is no text")
        name = (module, attribute)
        if not self.vocabulary.allows(name):
            raise Unreadable(f"it refers to {shown('.'.join(name))}, which a network file has no need of")
        self.stack.append(Global(name))


_MOST_ARGUMENTS = 16  # that a function of the vocabulary looks at
Step = Callable[[_Machine, Any], None]  # what the opcode carries: None, a number, text or bytes


def _push(machine: _Machine, value: object) -> None:
    if type(value) is int and value.bit_length() > MAX_INT_BITS:
        raise Unreadable(f"it holds a whole number of {value.bit_length()} bits")
    machine.stack.append(value)


def _constant(make: Callable[[], object]) -> Step:
    return lambda machine, _: machine.stack.append(make())


def _ignore(machine: _Machine, _: None) -> None:
    pass  # PROTO: genops needs no version; STOP ends the iteration by itself


def _frame(machine: _Machine, size: int) -> None:
    # Frames are hints for buffering: all that can be wrong with one is its length.
    if size > len(machine.stream.getbuffer()) - machine.stream.tell():
        raise Unreadable("its pickle stream is broken or cut off (a frame is longer than the file)")


def _mark(machine: _Machine, _: None) -> None:
    # Set aside rather than marked: no opcode can reach below its own mark.
    machine.outer.append(machine.stack)
    machine.stack = []


def _tuple(size: int) -> Step:
    return lambda machine, _: machine.stack.append(tuple(machine.pop_many(size)))


def _marked_tuple(machine: _Machine, _: None) -> None:
    items = machine.pop_marked()
    machine.stack.append(tuple(items))


def _marked_list(machine: _Machine, _: None) -> None:
    items = machine.pop_marked()
    machine.stack.append(items)


def _append(machine: _Machine, _: None) -> None:
    (item,) = machine.pop_many(1)
    machine.top(list).append(item)


def _appends(machine: _Machine, _: None) -> None:
    items = machine.pop_marked()
    machine.top(list).extend(items)


def _checked_key(key: object) -> str | int:
    # Only these: hashing nested tuples can take exponential time.
    if type(key) is str or (type(key) is int and abs(key) < MAX_KEY):
        return key
    raise Unreadable(f"it uses {shown(key)} as a key")


def _set_items(machine: _Machine, items: list[object]) -> None:
    if len(items) % 2:
        raise Unreadable("its pickle stream has a key without a value")
    target = machine.top(dict)
    for key, value in zip(items[::2], items[1::2], strict=True):
        target[_checked_key(key)] = value


def _marked_dict(machine: _Machine, _: None) -> None:
    items = machine.pop_marked()
    machine.stack.append({})
    _set_items(machine, items)


def _add_items(machine: _Machine, _: None) -> None:
    items = machine.pop_marked()
    machine.top(set).update([_checked_key(item) for item in items])


def _put(machine: _Machine, index: int) -> None:
    # Writers count; a far index is made up, and could be made to collide with others.
    if not 0 <= index < MAX_KEY:
        raise Unreadable(f"its pickle stream stores a memo entry {shown(index)}")
    machine.memo[index] = machine.stack[-1]


def _get(machine: _Machine, index: int) -> None:
    if index not in machine.memo:
        raise Unreadable(f"its pickle stream uses the memo entry {index}, which was never stored")
    machine.stack.append(machine.memo[index])


def _memoize(machine: _Machine, _: None) -> None:
    # The format numbers MEMOIZE by the size of the memo.
    _put(machine, len(machine.memo))


def _global(machine: _Machine, argument: str) -> None:
    machine.push_global(*argument.split(" ", 1))  # genops joins module and name with a space


def _stack_global(machine: _Machine, _: None) -> None:
    machine.push_global(*machine.pop_many(2))


def _reduce(machine: _Machine, _: None) -> None:
    # A token is looked up, never imported; the functions of the vocabulary check their own arguments.
    function, arguments = machine.pop_many(2)
    call = machine.vocabulary.calls.get(function.name) if isinstance(function, Global) else None
    if call is None or type(arguments) is not tuple:
        raise Unreadable(f"it calls {_called(function)}, which is not a function of network files")
    # A memo can hand over the same large value any number of times.
    for value in (arguments, *arguments[:_MOST_ARGUMENTS]):
        machine.budget.charge(value)
    machine.stack.append(call(*arguments))


def _new_object(machine: _Machine, _: None) -> None:
    kind, arguments = machine.pop_many(2)
    make = machine.vocabulary.instances.get(kind.name) if isinstance(kind, Global) else None
    if make is None or arguments != ():
        raise Unreadable(f"it creates an instance of {_called(kind)}, which is not a class of network files")
    machine.stack.append(make())


def _called(function: object) -> str:
    return ".".join(function.name) if isinstance(function, Global) else shown(function)


def _build(machine: _Machine, _: None) -> None:
    # The one place where a pickle reaches into an object: only those that check the state themselves.
    (state,) = machine.pop_many(1)
    target = machine.stack[-1]
    if not isinstance(target, TakesState):
        raise Unreadable(f"it sets the inner state of {_called(target)}")
    for value in (state, *(state[:_MOST_ARGUMENTS] if type(state) is tuple else ())):
        machine.budget.charge(value)
    target.set_state(state)


def _persistent(machine: _Machine, _: None) -> None:
    (identity,) = machine.pop_many(1)
    if machine.vocabulary.persistent is None:
        raise Unreadable("it uses a persistent id, which only tensor storages have")
    machine.stack.append(machine.vocabulary.persistent(identity))


# Absent, so refused: INST, OBJ, NEWOBJ_EX, the extension registry and whatever comes later.
_STEPS: dict[str, Step] = {
    **dict.fromkeys(("PROTO", "STOP"), _ignore),
    **dict.fromkeys(
        "INT LONG BININT BININT1 BININT2 LONG1 LONG4 FLOAT BINFLOAT UNICODE BINUNICODE SHORT_BINUNICODE "
        "BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8".split(),
        _push,
    ),
    "NONE": _constant(lambda: None),
    "NEWTRUE": _constant(lambda: True),
    "NEWFALSE": _constant(lambda: False),
    "EMPTY_LIST": _constant(list),
    "EMPTY_DICT": _constant(dict),
    "EMPTY_SET": _constant(set),
    "EMPTY_TUPLE": _constant(tuple),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "FRAME": _frame,
    "MARK": _mark,
    "TUPLE": _marked_tuple,
    "LIST": _marked_list,
    "DICT": _marked_dict,
    "APPEND": _append,
    "APPENDS": _appends,
    "SETITEM": lambda machine, _: _set_items(machine, machine.pop_many(2)),
    "SETITEMS": lambda machine, _: _set_items(machine, machine.pop_marked()),
    "ADDITEMS": _add_items,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _get),
    "MEMOIZE": _memoize,
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "NEWOBJ": _new_object,
    "BUILD": _build,
    "BINPERSID": _persistent,
}
