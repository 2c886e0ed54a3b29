"""The space of a spec: every point that a run may visit.

It is a mapping of parameters to domains, or an expression that gives exact points::

    product: [{a: [1, 2]}, {zip: {b: [3, 4], c: [5, 6]}}]

``product``, ``concat`` (lists of operands), ``subtract``, ``missing`` (two operands), ``zip`` (columns) and
``points`` (a file) are expressions where they are the only key of their mapping and their value has the form that
the word wants: mappings in a list; a mapping with at least one list; a file's name that ends in .csv or .json. An
operand is an expression, or a mapping of domains, whose product is meant. A parameter that bears one of these names is
still possible: give its values as a plain list (``zip: [1, 2]``), or let it stand beside another parameter.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from mpiens.errors import SpecError, UsageError
from mpiens.space.algebra import Param, missing
from mpiens.space.domains import Domain, Fixed, Range, parse_domain
from mpiens.space.points import SUFFIXES, read_points
from mpiens.space.slips import slip
from mpiens.space.values import check_name, check_width, is_plain, shown

_FOLDED: dict[str, Callable[[Param, Param], Param]] = {"product": operator.mul, "concat": operator.add}
_PAIRED: dict[str, Callable[[Param, Param], Param]] = {"subtract": operator.sub, "missing": missing}


@dataclass(frozen=True)
class Space:
    """What a spec says of its parameters; exactly one of the two is given.

    Attributes:
        domains: Domain of every parameter, or None for an expression.
        expression: The points of an expression, or None.
        earlier: Of a grid that has grown: the points that it had before, smallest first.
    """

    domains: dict[str, Domain] | None = None
    expression: Param | None = None
    earlier: tuple[Param, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All parameters."""
        return tuple(self.domains) if self.domains is not None else self._points.names

    @property
    def _points(self) -> Param:
        if self.expression is None:
            raise ValueError("a space has either domains or an expression")
        return self.expression

    def grid(self) -> Param:
        """All points; the last parameter changes fastest.

        Raises:
            SpecError: A range has no step; the error names it.
        """
        return self._points if self.domains is None else _product_of_axes(self.domains, "space")

    def parts(self) -> tuple[Param, ...]:
        """All points in the order in which a grid visits them: those that it had first, then what was added each time.

        Raises:
            SpecError: A range has no step; the error names it.
        """
        forms = (*self.earlier, self.grid())
        return (forms[0], *(missing(larger, smaller) for smaller, larger in pairwise(forms)))

    def searchable(self) -> dict[str, Domain]:
        """The domains, for a sampler.

        Raises:
            SpecError: The space is an expression.
        """
        if self.domains is None:
            raise SpecError(
                "a sampler chooses from ranges and choices; this space is an expression, whose points are fixed: "
                "write a mapping of parameters to domains, or use search.algorithm: grid",
                key="space",
            )
        return self.domains

    def is_empty(self) -> bool:
        """True when there is no point at all. Tries for the first one only."""
        return not self.names or (self.domains is None and not self._points)


def parse_space(tree: object, folder: Path) -> Space:
    """The space that the spec's `space` describes.

    Args:
        tree: Its content, as plain Python data.
        folder: Folder that files of points are relative to.

    Raises:
        SpecError: It describes none, or one without points; the error's key says where.
    """
    mapping = _as_mapping(tree, "space")
    if not mapping:
        raise SpecError("the space is empty; give at least one parameter", key="space")
    if not is_expression(mapping):
        return Space(domains=_parse_domains(mapping, "space"))
    space = Space(expression=_parse_expression(mapping, "space", folder))
    if space.is_empty():
        raise SpecError("the space is empty: this expression has no point", key=f"space.{next(iter(mapping))}")
    return space


def space_problems(tree: object) -> list[SpecError]:
    """What is wrong with each parameter of a mapping of domains; nothing for an expression."""
    if not isinstance(tree, dict) or is_expression(tree):
        return []
    problems = []
    for name in tree:
        try:
            _parse_parameter(name, tree, "space")
        except SpecError as error:
            problems.append(error)
    return problems


def is_expression(mapping: dict[Any, Any]) -> bool:
    """True when the only key is an expression's word and its value has the form that the word wants."""
    if len(mapping) != 1:
        return False
    [(word, content)] = mapping.items()
    if word in _FOLDED or word in _PAIRED:
        return isinstance(content, list) and any(isinstance(operand, dict) for operand in content)
    if word == "zip":
        return isinstance(content, dict) and any(isinstance(column, list) for column in content.values())
    return word == "points" and isinstance(content, str) and content.lower().endswith(SUFFIXES)


def _as_mapping(tree: object, key: str) -> dict[Any, Any]:
    if not isinstance(tree, dict):
        raise SpecError(f"expected a mapping of parameters to their values, found {shown(tree)}", key=key)
    return tree


def _parse_domains(mapping: dict[Any, Any], key: str) -> dict[str, Domain]:
    return {name: _parse_parameter(name, mapping, key) for name in mapping}


def _parse_parameter(name: Any, mapping: dict[Any, Any], key: str) -> Domain:
    try:
        return parse_domain(name, mapping[name], f"{key}.{name}")
    except SpecError:
        meant = slip(name, mapping[name], [other for other in mapping if other != name])
        if meant is None:
            raise
        raise SpecError(meant, key=f"{key}.{name}") from None


def _parse_operand(tree: object, key: str, folder: Path) -> Param:
    mapping = _as_mapping(tree, key)
    if not mapping:
        raise SpecError("this operand is empty; give at least one parameter", key=key)
    if is_expression(mapping):
        return _parse_expression(mapping, key, folder)
    return _product_of_axes(_parse_domains(mapping, key), key)


def _parse_expression(mapping: dict[str, Any], key: str, folder: Path) -> Param:
    [(word, content)] = mapping.items()
    key = f"{key}.{word}"
    if word == "points":
        return read_points(folder / content, key)
    try:
        if word == "zip":
            return Param(_columns(content, key))
        operands = [_parse_operand(operand, f"{key}.{index}", folder) for index, operand in enumerate(content)]
        if word in _FOLDED:
            return functools.reduce(_FOLDED[word], operands)
        if len(operands) != 2:
            raise SpecError(f"expected two operands, found {len(operands)}", key=key)
        return _PAIRED[word](*operands)
    except SpecError:
        raise
    except UsageError as error:
        raise SpecError(str(error), key=key) from None


def _columns(content: dict[Any, Any], key: str) -> dict[str, Any]:
    for name, column in content.items():
        check_name(name, f"{key}.{name}")
        for index, value in enumerate(column) if isinstance(column, list) else [(None, column)]:
            place = f"{key}.{name}" if index is None else f"{key}.{name}.{index}"
            if is_plain(value):
                check_width(value, place)
            else:
                raise SpecError(f"expected a plain value or a list of such, found {shown(value)}", key=place)
    return content


def _product_of_axes(domains: dict[str, Domain], key: str) -> Param:
    axes = (Param({name: _axis(domain, f"{key}.{name}")}) for name, domain in domains.items())
    return functools.reduce(operator.mul, axes)


def _axis(domain: Domain, key: str) -> Sequence[Any]:
    if isinstance(domain, Fixed):
        return [domain.value]
    if not isinstance(domain, Range):
        return domain.values
    if domain.step is None:
        ends = f"{domain.low!r}, {domain.high!r}"
        raise SpecError(
            f"a grid cannot use a range without a step: add step, or write a list or {{linspace: [{ends}, n]}}", key=key
        )
    return domain.values()
