"""Arithmetic on parameters: ``n * 2``, ``max(1, cells // 100)``. Numbers and a few functions, nothing that is run."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

Number = int | float

_LARGEST = 1e18
"""No step may go beyond this, so that ``9 ** 9 ** 9`` cannot fill the memory."""

_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: math.pow,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "ceil": math.ceil,
    "floor": math.floor,
    "int": int,
    "max": max,
    "min": min,
    "round": round,
}


class Arithmetic:
    """An expression, checked when it is made.

    Args:
        text: Numbers, names of parameters (dots allowed), ``+ - * / // % **``, parentheses, and the functions abs,
            ceil, floor, int, max, min and round.

    Raises:
        ValueError: It is none; the message says what is not understood.

    Attributes:
        names: The parameters in it.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        names: set[str] = set()
        try:
            self._root = ast.parse(text.strip(), mode="eval").body
            self._check(self._root, names)
        except SyntaxError:
            raise ValueError(f"{text!r} is not arithmetic") from None
        except RecursionError:
            raise ValueError("the expression is nested too deeply") from None
        self.names = tuple(sorted(names))

    def value(self, values: Mapping[str, object]) -> Number:
        """The number that it gives with these parameters.

        Raises:
            ValueError: A parameter is missing or no number, or the result is not finite.
        """
        try:
            found = self._value(self._root, values)
        except (ArithmeticError, TypeError) as error:
            raise ValueError(f"{self._text!r} cannot be worked out: {error}") from None
        if not math.isfinite(found):
            raise ValueError(f"{self._text!r} gives {found}")
        return found

    def _check(self, node: ast.AST, names: set[str]) -> None:
        dotted = _dotted(node)
        if dotted is not None:
            names.add(dotted)
        elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            self._check(node.left, names)
            self._check(node.right, names)
        elif isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
            self._check(node.operand, names)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords and node.args:
            if node.func.id not in _FUNCTIONS:
                raise ValueError(f"{self._text!r}: no function {node.func.id!r}; there are: {', '.join(_FUNCTIONS)}")
            for argument in node.args:
                self._check(argument, names)
        elif not (isinstance(node, ast.Constant) and type(node.value) in (int, float)):
            raise ValueError(f"{self._text!r}: {ast.unparse(node)!r} is neither a number, a parameter nor arithmetic")

    def _value(self, node: ast.AST, values: Mapping[str, object]) -> Number:
        dotted = _dotted(node)
        found: Any
        if dotted is not None:
            if dotted not in values:
                raise ValueError(f"{self._text!r}: the trial has no parameter {dotted!r}")
            found = values[dotted]
            if hasattr(found, "item"):
                found = found.item()
            if type(found) not in (int, float):
                raise ValueError(f"{self._text!r}: {dotted} is {found!r}, expected a number")
        elif isinstance(node, ast.BinOp):
            found = _OPERATORS[type(node.op)](self._value(node.left, values), self._value(node.right, values))
        elif isinstance(node, ast.UnaryOp):
            found = _OPERATORS[type(node.op)](self._value(node.operand, values))
        elif isinstance(node, ast.Call):
            assert isinstance(node.func, ast.Name)
            found = _FUNCTIONS[node.func.id](*[self._value(argument, values) for argument in node.args])
        else:
            assert isinstance(node, ast.Constant)
            found = node.value
        if abs(found) > _LARGEST:
            raise ValueError(f"{self._text!r} becomes larger than {_LARGEST:g}")
        number: Number = found
        return number


def _dotted(node: ast.AST) -> str | None:
    """``a`` and ``a.b.c`` as a name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        outer = _dotted(node.value)
        return None if outer is None else f"{outer}.{node.attr}"
    return None
