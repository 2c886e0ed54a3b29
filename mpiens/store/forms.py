"""What has been seen of the values of one name over many trials, and how they can be laid out. Pure.

A column has one of four layouts:

- numbers of one shape: an array ``[n, *shape]``;
- strings of one shape: the same, as fixed-length UTF-8 (NumPy's ``S``), because parallel HDF5 cannot write types of
  variable length;
- ragged: the elements of all trials in one array, with the offset and the shape of each trial;
- JSON text: whatever fits nowhere else, such as numbers mixed with strings.

`Form` tells which one fits. Forms can be joined in any order with the same result, so that it does not matter how
trials were spread over segments.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Layout = Literal["plain", "ragged", "json"]

TEXT = "S"
"""Stands for strings among the types of numbers."""


@dataclass(frozen=True, slots=True)
class Form:
    """What has been seen of the values of one name.

    Attributes:
        dtypes: Types of the numbers, as NumPy's type strings; ``S`` when there were strings.
        shape: The shape of every value; None when there were several, or no value.
        max_ndim: Most dimensions of any value; -1 when there was no value.
        width: Bytes of the longest string, at least 1.
        is_json: A value is neither number nor string nor an array of such, or cannot stand in a fixed-length string.
        has_missing: Some trial has no value.
        strict: Booleans and numbers do not mix, and there are no arrays: the rule for parameters.
    """

    dtypes: frozenset[str] = frozenset()
    shape: tuple[int, ...] | None = None
    max_ndim: int = -1
    width: int = 1
    is_json: bool = False
    has_missing: bool = False
    strict: bool = False

    def __or__(self, other: Form) -> Form:
        """The form of the values of both."""
        if self == other:
            return self
        if self.max_ndim < 0 or other.max_ndim < 0:
            shape = self.shape if other.max_ndim < 0 else other.shape
        else:
            shape = self.shape if self.shape == other.shape else None
        return Form(
            self.dtypes | other.dtypes,
            shape,
            max(self.max_ndim, other.max_ndim),
            max(self.width, other.width),
            self.is_json or other.is_json,
            self.has_missing or other.has_missing,
            self.strict or other.strict,
        )

    @property
    def layout(self) -> Layout:
        """How the values are laid out."""
        mixed = TEXT in self.dtypes and len(self.dtypes) > 1
        if self.strict:
            mixed = mixed or self.max_ndim > 0 or ("|b1" in self.dtypes and len(self.dtypes) > 1)
        if self.is_json or mixed:
            return "json"
        return "ragged" if self.shape is None and self.max_ndim >= 0 else "plain"

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the array's elements."""
        if self.layout == "json" or self.dtypes == {TEXT}:
            return np.dtype((np.bytes_, self.width))
        if not self.dtypes:
            return np.dtype(np.float64)
        common = common_dtype(self.dtypes)
        if self.has_missing and self.layout == "plain" and common.kind in "biu":
            return np.dtype(np.float64)
        return common

    @property
    def item_shape(self) -> tuple[int, ...]:
        """Shape of a row of a plain column."""
        return (self.shape or ()) if self.layout == "plain" else ()


@functools.lru_cache(maxsize=256)
def common_dtype(dtypes: frozenset[str]) -> np.dtype[Any]:
    """The type that holds numbers of all these."""
    return np.result_type(*(np.dtype(name) for name in sorted(dtypes)))


def fill_value(dtype: np.dtype[Any]) -> Any:
    """What stands where a trial has no value."""
    if dtype.kind == "c":
        return complex(np.nan, np.nan)
    if dtype.kind == "f":
        return np.nan
    return b"" if dtype.kind == "S" else dtype.type(0)
