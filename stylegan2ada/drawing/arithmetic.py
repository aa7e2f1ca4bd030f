"""Sums of latents: `w(3)-w(7)+w(12)` as text to w, and the direction from one class to another."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from dataclasses import dataclass

import torch

from stylegan2ada import synthesis
from stylegan2ada.config import LAST_SEED
from stylegan2ada.errors import UserError
from stylegan2ada.projection import w_statistics
from stylegan2ada.protocols import Card, Generator

_LONGEST = 500  # characters, and so no deeper than the interpreter can follow
_MOST_SEEDS = 10_000
_CLASS_SAMPLES = 2000  # latents whose mean stands for a class
_OPERATORS: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip
_FORM = 'write for example w(3)-w(7)+w(12), (w(0-99)+w(5))/2 or w(3)+0.5*(mean("abnormal")-mean("normal"))'


@dataclass(frozen=True)
class Latent:
    """w [num_ws, w_dim], and how many latents it adds up to: a sum of 1 is an image, of 0 a direction."""

    w: torch.Tensor
    total: float


@dataclass(frozen=True)
class Evaluated:
    """An expression's value, and the latents that it was made of, by their text, in their order."""

    result: Latent
    parts: dict[str, torch.Tensor]


@dataclass(frozen=True)
class Arithmetic:
    """A network and its latents."""

    G: Generator
    card: Card | None
    psi: float  # truncation of each latent
    c: torch.Tensor | None  # [1, c_dim] where the expression names no class; None: it must

    def evaluate(self, text: str) -> Evaluated:
        """`w(SEEDS)`, `w(SEEDS, CLASS)` and `mean(CLASS)` with + - * / and numbers; UserError for others."""
        if len(text) > _LONGEST:
            raise UserError(f"--expr has {len(text)} characters; {_LONGEST} at most")
        try:
            tree = ast.parse(text.strip(), mode="eval").body
            parts: dict[str, torch.Tensor] = {}
            found = self._value(tree, parts)
        except (SyntaxError, ValueError, OverflowError, MemoryError, RecursionError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"--expr={text} cannot be read; {_FORM}") from error
        if not isinstance(found, Latent):
            raise UserError(f"--expr={text} is a number; {_FORM}")
        return Evaluated(found, parts)

    def direction(self, start: str, end: str) -> torch.Tensor:
        """From the mean w of one class to that of another, [num_ws, w_dim]."""
        return self._mean(end) - self._mean(start)

    def of_seeds(self, seeds: list[int], c: torch.Tensor | None) -> torch.Tensor:
        """w of each, [n, num_ws, w_dim]."""
        device = next(self.G.parameters()).device
        z = synthesis.seed_latents(seeds, self.G.z_dim).to(device, torch.float32)
        with torch.no_grad():
            label = None if c is None else c.to(device).expand(len(seeds), -1)
            return self.G.mapping(z, label, truncation_psi=self.psi)

    def label_of(self, choice: int | str) -> torch.Tensor:
        """[1, c_dim] of a class by number or name."""
        if self.G.c_dim == 0:
            raise UserError(f"this network has no classes, so there is no class {choice}")
        named = synthesis.class_number(choice, self.card, given="class ")
        return synthesis.labels(self.G, 1, class_idx=named)

    def _mean(self, choice: int | str) -> torch.Tensor:
        c = self.label_of(int(choice) if isinstance(choice, str) and choice.isdigit() else choice)
        mean, _ = w_statistics(self.G, _CLASS_SAMPLES, c, next(self.G.parameters()).device)
        return mean[0].expand(self.G.num_ws, -1)

    def _value(self, node: ast.expr, parts: dict[str, torch.Tensor]) -> Latent | float:
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return float(value)
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return _combined(ast.Mult, -1.0, self._value(inner, parts))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _combined(type(op), self._value(left, parts), self._value(right, parts))
            case ast.Call(func=ast.Name(id="w"), args=[seeds, *rest], keywords=[]) if len(rest) < 2:
                c = self.label_of(_word(rest[0])) if rest else self._usual_label()
                w = self.of_seeds(_seeds(seeds), c).mean(0)
            case ast.Call(func=ast.Name(id="mean"), args=[choice], keywords=[]):
                w = self._mean(_word(choice))
            case _:
                raise UserError(f"--expr: {ast.unparse(node)[:60]} means nothing here; {_FORM}")
        parts[_spelled(node)] = w
        return Latent(w, 1.0)

    def _usual_label(self) -> torch.Tensor | None:
        if self.c is None and self.G.c_dim:
            raise UserError(
                f"this network has {self.G.c_dim} classes; give --class, or name one: w(3, 1) or w(3, 'name')"
            )
        return self.c


def _combined(op: type, a: Latent | float, b: Latent | float) -> Latent | float:
    """a op b: latents add up and are scaled by numbers, no more."""
    apply = _OPERATORS[op]
    if op is ast.Div and (isinstance(b, Latent) or b == 0):
        raise UserError("--expr divides by a latent or by 0; latents are divided by numbers")
    if isinstance(a, Latent) and isinstance(b, Latent):
        if op is ast.Mult:
            raise UserError("--expr multiplies two latents; they are multiplied by numbers")
        return Latent(apply(a.w, b.w), apply(a.total, b.total))  # type: ignore[arg-type]
    if op in (ast.Add, ast.Sub) and (isinstance(a, Latent) or isinstance(b, Latent)):
        raise UserError(f"--expr adds a number to a latent; {_FORM}")
    if isinstance(a, Latent):
        return Latent(apply(a.w, b), apply(a.total, b))  # type: ignore[arg-type]
    if isinstance(b, Latent):
        return Latent(apply(a, b.w), apply(a, b.total))  # type: ignore[arg-type]
    return apply(a, b)


def _spelled(node: ast.expr) -> str:
    return ast.unparse(node).replace(" - ", "-")


def _word(node: ast.expr) -> int | str:
    """A class: a number, a name, or a name in quotes."""
    match node:
        case ast.Constant(value=str() | int() as value) if not isinstance(value, bool):
            return value
        case ast.Name(id=name):
            return name
    raise UserError(f"--expr: {ast.unparse(node)[:60]} is no class; give its number, or its name in quotes")


def _seeds(node: ast.expr) -> list[int]:
    """3 or 0-99, both ends included."""
    match node:
        case ast.Constant(value=int() as first):
            last = first
        case ast.BinOp(
            left=ast.Constant(value=int() as first), op=ast.Sub(), right=ast.Constant(value=int() as last)
        ):
            pass
        case _:
            raise UserError(f"--expr: {ast.unparse(node)[:60]} is no seed; give one like 3, or a range, 0-99")
    is_range = 0 <= first <= last <= LAST_SEED and last - first < _MOST_SEEDS
    if bool in (type(first), type(last)) or not is_range:  # True is an int, too
        raise UserError(f"--expr: {first}-{last} is no range of up to {_MOST_SEEDS:,} seeds from 0 on")
    return list(range(first, last + 1))
