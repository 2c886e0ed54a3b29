"""What was meant where an expression's word stands, or one like it, and no expression is there."""

from __future__ import annotations

from collections.abc import Sequence

from mpiens.space.domains import KEYS
from mpiens.space.values import nearest

FORMS = {
    "product": "[A, B, ...]",
    "zip": "{a: [...], b: [...]}",
    "concat": "[A, B, ...]",
    "subtract": "[A, B]",
    "missing": "[A, B]",
    "points": "points.csv",
}
"""The words of expressions, and what each wants."""

_ALIKE = {
    "sum": "concat",
    "add": "concat",
    "union": "concat",
    "concatenate": "concat",
    "append": "concat",
    "chain": "concat",
    "difference": "subtract",
    "minus": "subtract",
    "exclude": "subtract",
    "except": "subtract",
    "cross": "product",
    "outer": "product",
    "multiply": "product",
    "together": "zip",
}


def slip(name: object, value: object, others: Sequence[object]) -> str | None:
    """What to write instead of a parameter that is none, but was meant as an expression; None: nothing tells that.

    Args:
        name: The word.
        value: What stands there, and is no domain.
        others: The other parameters of the same mapping.
    """
    holds_operands = isinstance(value, list) and any(isinstance(item, dict) for item in value)
    is_mapping = (
        isinstance(value, dict)
        and not any(key in KEYS for key in value)
        and any(isinstance(column, list | dict) for column in value.values())
    )
    if not isinstance(name, str) or not (holds_operands or is_mapping):
        return None
    if name not in FORMS:
        alike = _ALIKE.get(name.lower())
        hint = f"; did you mean {alike!r}?" if alike else nearest(name, FORMS)
        if not hint or (isinstance(value, dict) and any(nearest(key, KEYS) for key in value)):
            return None  # more likely a domain with a slip in it
        known = ", ".join(f"{word}: {form}" for word, form in FORMS.items())
        return f"neither a parameter's values nor an expression{hint}; expressions are {known}"
    if others:
        beside = ", ".join(f"{other}: ..." for other in others[:3]) + (", ..." if len(others) > 3 else "")
        inner = "..." if name == "product" else f"{{{name}: ...}}"
        return f"an expression stands alone; with other parameters it is product: [{inner}, {{{beside}}}]"
    if name == "zip":
        return f"expected a mapping of parameters with at least one list, zip: {FORMS[name]}"
    if name == "points":
        return "expected the name of a .csv or .json file"
    also = "; a mapping of parameters is their product without this word" if name == "product" else ""
    return f"expected a list of spaces such as {name}: [{{a: ...}}, {{b: ...}}], found a mapping{also}"
