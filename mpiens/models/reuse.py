"""Keeping a NetPyNE network from trial to trial (`model.reuse`).

The script runs anew in each trial, and makes its configuration and its network's parameters. Where it has NetPyNE build
the network, they are compared with those of the network that is there. When only numbers differ whose way into NEURON
is known (`mpiens.models.slots`), that network is given the new ones, and all others that it had when it was built;
otherwise it is removed, and NetPyNE builds another one.

What is found equal is not trusted unseen: the trial in which something differs for the first time is run twice, with
the kept network and with a new one, and all variables must agree to the last bit at the end of both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mpiens.errors import AttemptError
from mpiens.models.differences import NotPlain, changes, is_number, plain
from mpiens.models.kept_network import KeptNetwork, Objects, State, objects, refusal, state_of
from mpiens.models.picture import Picture
from mpiens.models.slots import Slots

_BUILD, _CHECK, _KEEP = 0, 1, 2
"""What to do about a network; of several ranks the least counts."""

_MINIMUM = 3
"""Of NEURON's allreduce."""

_SHOWN = 100

_STAGES = ("createPops", "createCells", "connectCells", "addStims")


class _Building:
    """How far the script of the trial that is running has come."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.state: State | None = None
        self.slots: Slots | None = None
        self.before: Objects = {}
        self.is_given = False
        self.is_one_call = False
        self.before_next: tuple[Callable[[], bool], Any] | None = None
        self.spoiled = ""


class Reuse:
    """Decides on one rank, on all ranks of a group alike.

    Args:
        say: Told once for each reason why a network is built anew.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._said: set[str] = set()
        self._kept: KeptNetwork | None = None
        self._is_off = False
        self._must_build = False
        self._trial_params: Mapping[str, Any] = {}
        self._checked: Counter[str] = Counter()
        self._news: dict[str, int] = {}
        self._objects: Objects = {}
        self._building = _Building()
        self.wants_check = False

    # What the model calls.

    def begin(self, trial_params: Mapping[str, Any], must_build: bool = False) -> None:
        """A script is about to run; `must_build`: whatever is there."""
        self._trial_params, self._must_build = trial_params, must_build
        self._building, self.wants_check = _Building(), False
        if self._kept is None:
            self._objects = objects()

    def may_stay(self, has_failed: bool) -> bool:
        """The group has ended the trial. True when there is a network to keep."""
        if self._building.spoiled:
            self._tell(self._building.spoiled)
        is_complete = self._building.stages == list(_STAGES) and not self._building.spoiled
        return self._kept is not None and is_complete and not has_failed

    def settle(self) -> bool:
        """All that the script held is gone. True when the network stays; otherwise it has been removed."""
        kept = self._kept
        if kept is not None and not (kept.is_whole() and kept.is_alone(self._objects)):
            self._tell("what the script makes stays when it has ended, or it has changed the network's form")
            self.drop()
        return self._kept is not None

    def drop(self) -> None:
        """Remove the network that is there."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.remove()

    def release(self) -> None:
        """Leave the network to those who hold parts of it."""
        self._kept = None

    def final_values(self) -> np.ndarray:
        """All variables of the network at the end of its trial."""
        return np.zeros(0) if self._kept is None else self._kept.final_values()

    def compare(self, reused: np.ndarray) -> None:
        """A network that was built anew has run: has the kept one ended likewise?"""
        if self._kept is None:
            return  # the script has done something with it, which is told elsewhere
        if reused.tobytes() != self.final_values().tobytes():
            self.turn_off(f"a kept one ends otherwise than a new one, with {', '.join(sorted(self._unchecked()))}")
        else:
            self._checked.update(self._news.keys())

    def turn_off(self, reason: str) -> None:
        """Build every network from now on."""
        self._is_off = True
        self._say(f"model.reuse: networks are built anew in all further trials: {reason}")

    # What NetPyNE calls.

    def stage(self, net: Any, name: str, build: Callable[[], Any]) -> Any:
        """One step of building."""
        from netpyne import sim

        if name == _STAGES[0]:
            self._decide(net, sim)
        now = self._building
        now.stages.append(name)
        if now.stages != list(_STAGES[: len(now.stages)]):
            self._spoil(f"the script builds its network in another order than {', '.join(_STAGES)}")
        self._look_between(net, sim)
        made = self._take(net, name) if now.is_given else build()
        if name == _STAGES[-1] and now.slots is not None and not now.spoiled and now.state is not None:
            self._kept = KeptNetwork(net, sim, now.state, now.slots, self._trial_params, now.before)
            now.slots = None
        if name != _STAGES[-1] and not now.is_one_call and (now.is_given or now.slots is not None):
            now.before_next = self._look_of_neuron(name), _notes(net, sim)
        return made

    def note(self, rule: tuple[str, ...], cell: Any, build: Callable[[], None]) -> None:
        """One rule connects one cell."""
        conns, stims = len(cell.conns), len(cell.stims)
        build()
        if self._building.slots is not None:
            self._building.slots.note(rule, cell, cell.conns[conns:], cell.stims[stims:])

    def in_one_call(self, build: Callable[[], Any]) -> Any:
        """NetPyNE takes all steps, with nothing of the script between them."""
        self._building.is_one_call = True
        try:
            return build()
        finally:
            self._building.is_one_call = False

    def spoil(self, reason: str) -> None:
        """The script does what a kept network is not put back from."""
        self._building.spoiled = self._building.spoiled or reason

    def clear_the_way(self, reason: str) -> None:
        """Something is about to happen that only the trial's own network may see."""
        if self._kept is not None and not self._building.stages:
            self._tell(reason)
            self.drop()

    @property
    def has_network(self) -> bool:
        """True while a network of an earlier trial is there."""
        return self._kept is not None

    def _decide(self, net: Any, sim: Any) -> None:
        now = self._building
        if now.stages:
            now.stages, now.is_given, now.slots = [], False, None
            self.release()
            self.spoil("the script builds several networks in one trial")
            return
        reason = self._prepare(net, sim)
        wish = _BUILD if reason is not None else _CHECK if self._unchecked() else _KEEP
        decision = int(sim.pc.allreduce(wish, _MINIMUM))
        if decision == _BUILD:
            if reason and not self._is_off:
                self._tell(reason)
            self.drop()
            if now.state is not None and not now.spoiled and not self._is_off:
                if _is_empty():
                    now.slots, now.before = Slots(now.state["params"]), objects()
                else:
                    self.spoil("the script makes sections or connections of its own before it builds")
            return
        assert self._kept is not None
        now.is_given, self.wants_check = True, decision == _CHECK
        self._kept.give(net, sim)

    def _prepare(self, net: Any, sim: Any) -> str | None:
        """Why the network that is there does not do, empty where there is none; None: it does, and has been moved."""
        now, kept = self._building, self._kept
        try:
            now.state = state_of(net, sim)
        except NotPlain as error:
            self.spoil(f"netParams.{error} is no plain data")
            return now.spoiled
        if refused := refusal(now.state):
            self.spoil(refused)
            return refused
        if kept is None or self._is_off or self._must_build:
            return ""
        paths, reason = kept.differences(now.state, float(sim.cfg.duration))
        if reason:
            return reason
        try:
            kept.move(now.state, paths)
        except ArithmeticError as error:
            return f"{error}"
        self._news = dict.fromkeys(map(".".join, paths), 1) | _to_check(kept.trial_params, self._trial_params)
        return None

    def _unchecked(self) -> list[str]:
        return [name for name, checks in self._news.items() if self._checked[name] < checks]

    def _take(self, net: Any, name: str) -> Any:
        """In place of a step: what it would have made."""
        assert self._kept is not None
        if name == "createPops":
            return net.pops
        if name == "createCells":
            self._kept.restore()
            net.cells = self._kept.cells
            return net.cells
        return [cell.conns if name == "connectCells" else cell.stims for cell in net.cells]

    def _look_of_neuron(self, name: str) -> Callable[[], bool]:
        """What tells whether NEURON is still as the step `name` has left it."""
        if name == _STAGES[0]:
            return lambda: True  # no cell is there yet, or the kept ones have not been put back
        return self._kept.is_untouched if self._building.is_given and self._kept else Picture().is_as_taken

    def _look_between(self, net: Any, sim: Any) -> None:
        left, self._building.before_next = self._building.before_next, None
        if left is None:
            return
        is_as_left, before = left
        after = _notes(net, sim)
        has_changed = before is None or after is None or next(changes(before, after), None) is not None
        if has_changed or not is_as_left():
            self._spoil("the script changes the network between the steps of building it")

    def _spoil(self, reason: str) -> None:
        if self._building.is_given:
            # Too late to build one in this attempt; the next will, since a failed one leaves no network.
            raise AttemptError(f"model.reuse: {reason}, as it did not when the network was built")
        self.spoil(reason)

    def _tell(self, reason: str) -> None:
        if reason not in self._said:
            self._said.add(reason)
            self._say(f"model.reuse: the network is built anew: {reason}")


def _notes(net: Any, sim: Any) -> Any:
    """What NetPyNE goes by in the steps that are left, as plain data; None where it cannot be compared."""
    try:
        pops = {str(label): plain(pop.tags) for label, pop in net.pops.items()}
        return [state_of(net, sim), pops, [plain(cell.tags) for cell in net.cells]]
    except NotPlain:
        return None


def _is_empty() -> bool:
    from neuron import h

    return not any(True for _ in h.allsec()) and not int(h.List("NetCon").count())


def _to_check(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, int]:
    """What of a trial's parameters must have been seen to make no difference, and how often.

    Of numbers, those that differ. By what is no number scripts decide what to do: so each value counts, and twice, for
    the first time the network has not been through it before.
    """
    wanted = {f"{name}: {str(value)[:_SHOWN]}": 2 for name, value in after.items() if not is_number(value)}
    for name, value in after.items():
        if is_number(value) and before.get(name) != value:
            wanted[name] = 1
    return wanted
