"""Parameter spaces: domains, the algebra of points, and what a spec's `space` means."""

from mpiens.space.algebra import AmbiguousOperationError, Param, UnequalLengthsError, missing
from mpiens.space.domains import Choices, Domain, Fixed, Range, parse_domain
from mpiens.space.growth import check_larger, embedded, grown
from mpiens.space.space import Space, is_expression, parse_space, space_problems

__all__ = [
    "AmbiguousOperationError",
    "Choices",
    "Domain",
    "Fixed",
    "Param",
    "Range",
    "Space",
    "UnequalLengthsError",
    "check_larger",
    "embedded",
    "grown",
    "is_expression",
    "missing",
    "parse_domain",
    "parse_space",
    "space_problems",
]
