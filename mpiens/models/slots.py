"""Which variables of a built network follow from which of its parameters, and how.

Only numbers count whose way into NEURON is known: weights of connection rules, and what drives the network. Each way is
tried on the network as NetPyNE has built it; where it does not give back the very numbers that are there, the parameter
is left out, and a change of it means to build anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from mpiens.models.differences import Path, at, is_number
from mpiens.models.picture import Picture

Way = Callable[[Picture, Any], None]
"""Has a picture hold what a network built with this number would hold."""

SOURCES = frozenset({"NetStim", "IClamp", "VClamp", "SEClamp", "AlphaSynapse"})
"""Kinds of stimuli that a kept network may have."""

_NETSTIM = ("rate", "interval", "noise", "start", "number")
_SECOND_MS = 1e3
_NAMED = frozenset({"type", "source", "loc", "sec", "label"})
"""Entries of a stimulus that are no variables of NEURON's."""


class Slots:
    """Of one network; filled while it is built, settled when it is there.

    Args:
        params: The network's parameters, as plain data.
    """

    def __init__(self, params: dict[str, Any]) -> None:
        self._params = params
        self._made: dict[Path, list[tuple[Any, Any]]] = {}
        """By rule: cell and connection."""
        self._stims: dict[Path, list[tuple[Any, Any]]] = {}
        """By stimulus' target: cell and NetStim."""
        self._setters: dict[Path, list[Way]] = {}

    def note(self, rule: Path, cell: Any, conns: Iterable[Any], stims: Iterable[Any] = ()) -> None:
        """`rule` has just made these connections and NetStims on `cell`."""
        self._made.setdefault(rule, []).extend((cell, conn) for conn in conns)
        self._stims.setdefault(rule, []).extend((cell, stim) for stim in stims)

    def settle(self, picture: Picture, cells: list[Any], pops: Mapping[str, Any]) -> None:
        """Find the place of each parameter in `picture`, which was taken when the network had been built."""
        for rule, made in self._made.items():
            self._try((*rule, "weight"), picture, _weights(self._params, rule, made, picture))
            if rule[0] == "stimTargetParams":
                self._try((*rule, "delay"), picture, _delays(self._params, rule, made))
        for name, source in self._params["stimSourceParams"].items():
            rules = [
                ("stimTargetParams", label)
                for label, target in self._params["stimTargetParams"].items()
                if target.get("source") == name
            ]
            if source.get("type") == "NetStim":
                stims = [stim for rule in rules for _, stim in self._stims.get(rule, ())]
                ways = _pulses(("stimSourceParams", name), source, stims)
            else:
                stims = [stim for cell in cells for stim in cell.stims if stim.get("source") == name]
                ways = _clamps(("stimSourceParams", name), source, stims)
            for path, way in ways:
                self._try(path, picture, way)
        for name, pop in self._params["popParams"].items():
            if pop.get("cellModel") == "NetStim":
                members = [cell for cell in cells if cell.tags.get("pop") == name]
                for path, way in _point_cells(("popParams", name), pop, members, pops[name].tags):
                    self._try(path, picture, way)

    def knows(self, path: Path) -> bool:
        """True when a change of the number at `path` can be carried into the network."""
        return path in self._setters

    def set(self, path: Path, picture: Picture, value: Any) -> None:
        """Have `picture` hold what a network built with `value` at `path` would hold.

        Raises:
            ArithmeticError: NetPyNE could not build that network either.
        """
        for setter in self._setters[path]:
            setter(picture, value)

    def _try(self, path: Path, picture: Picture, way: Iterator[Way] | None) -> None:
        """Keep `way` if it leads from the number at `path` to what is there."""
        try:
            value = at(self._params, path)
            if way is None or not is_number(value):
                return
            setters = list(way)
            before, delays = picture.values.copy(), list(picture.delays)
            try:
                for setter in setters:
                    setter(picture, value)
                is_right = picture.values.tobytes() == before.tobytes() and picture.delays == delays
            finally:
                picture.values[:], picture.delays[:] = before, delays
        except (KeyError, IndexError, TypeError, ValueError, ArithmeticError, AttributeError):
            return  # this form of it is not known
        if is_right:
            self._setters[path] = setters


def _weights(params: dict[str, Any], rule: Path, made: list[tuple[Any, Any]], picture: Picture) -> Iterator[Way]:
    is_stim = rule[0] == "stimTargetParams"
    entry = at(params, rule)
    # A weight is multiplied in this order: by the mechanism's share, the network's scale, the section's norm.
    chains: dict[tuple[Any, ...], list[tuple[int, Any]]] = {}
    for cell, conn in made:
        weights = cell._connWeightsAndDelays({"weight": 1.0, "delay": 0.0, "synsPerConn": 1}, is_stim or None)[0]
        chain = (_share(entry, conn), weights[0], _norm(cell, conn))
        begin, count = picture.weight(conn["hObj"])
        place = begin + (_weight_index(cell, conn) if count > 1 else 0)
        chains.setdefault(chain, []).append((place, conn))

    def setter(chain: tuple[Any, ...], places: list[tuple[int, Any]]) -> Way:
        share, scale, norm = chain
        indices = [place for place, _ in places]

        def write(picture: Picture, weight: Any) -> None:
            value = weight if share is None else weight * share
            value = scale * value
            value = value if norm is None else value * norm
            picture.values[indices] = value
            for _, conn in places:
                conn["weight"] = value

        return write

    for chain, places in chains.items():
        yield setter(chain, places)


def _share(entry: dict[str, Any], conn: Any) -> Any:
    mechanisms = entry.get("synMech")
    if not isinstance(mechanisms, list) or len(mechanisms) < 2:
        return None
    if "synMechWeightFactor" not in entry:
        return None
    if len(set(mechanisms)) < len(mechanisms):
        raise ValueError("which of them made the connection is not known")
    return entry["synMechWeightFactor"][mechanisms.index(conn["synMech"])]


def _section(cell: Any, conn: Any) -> Any:
    # Not getattr: a point cell claims to have everything.
    return (cell.__dict__.get("secs") or {}).get(conn.get("sec")) or {}


def _norm(cell: Any, conn: Any) -> Any:
    section = _section(cell, conn)
    norms = section.get("weightNorm")
    return norms[round(conn["loc"] * section["geom"]["nseg"]) - 1] if isinstance(norms, list) else None


def _weight_index(cell: Any, conn: Any) -> int:
    """Which of a connection's numbers is its weight; the others belong to the mechanism."""
    if conn.get("weightIndex"):
        return int(conn["weightIndex"])
    for point in (_section(cell, conn).get("pointps") or {}).values():
        if "vref" in point and conn.get("synMech") in point.get("synList", ()):
            return int(point["synList"].index(conn["synMech"]))
    return 0


def _delays(params: dict[str, Any], rule: Path, made: list[tuple[Any, Any]]) -> Iterator[Way] | None:
    entry = at(params, rule)
    if "synMechDelayFactor" in entry:
        return None

    def write(picture: Picture, delay: Any) -> None:
        for _, conn in made:
            picture.delays[picture.place(conn["hObj"])] = float(delay)
            conn["delay"] = delay

    return iter([write])


def _pulses(path: Path, entry: dict[str, Any], stims: list[Any]) -> Iterator[tuple[Path, Iterator[Way]]]:
    """NetStims of stimuli."""

    def setter(name: str) -> Way:
        def write(picture: Picture, value: Any) -> None:
            variable, number, shown = name, value, name
            if name in ("rate", "interval"):
                rate = value if name == "rate" else _SECOND_MS / value
                variable, number, shown, value = "interval", rate**-1 * _SECOND_MS, "rate", rate
            for stim in stims:
                picture.values[picture.variable(stim["hObj"], variable)] = number
                stim[shown] = value

        return write

    for name in _NETSTIM:
        if name in entry and not (name == "interval" and "rate" in entry):
            yield (*path, name), iter([setter(name)])


def _point_cells(
    path: Path, entry: dict[str, Any], cells: list[Any], tags: Any
) -> Iterator[tuple[Path, Iterator[Way]]]:
    """Populations of NetStims."""

    def setter(name: str) -> Way:
        def write(picture: Picture, value: Any) -> None:
            tags.get("params", tags)[name] = value
            for cell in cells:
                cell.params[name] = value
                if name == "rate":
                    cell.params["interval"] = _SECOND_MS / value
                variable, number = ("interval", _SECOND_MS / value) if name == "rate" else (name, value)
                picture.values[picture.variable(cell.hPointp, variable)] = number

        return write

    for name in _NETSTIM:
        if name in entry and not {"rate", "interval"} <= entry.keys():
            yield (*path, name), iter([setter(name)])


def _clamps(path: Path, entry: dict[str, Any], stims: list[Any]) -> Iterator[tuple[Path, Iterator[Way]]]:
    def setter(name: str) -> Way:
        def write(picture: Picture, value: Any) -> None:
            for stim in stims:
                picture.values[picture.variable(stim["hObj"], "del" if name == "delay" else name)] = value
                stim[name] = value

        return write

    for name in entry:
        if name not in _NAMED:
            yield (*path, name), iter([setter(name)])
