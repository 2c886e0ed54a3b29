"""A storage for one Optuna study that may forget trials: what a sampler is shown does not grow with the run."""

from __future__ import annotations

from bisect import insort
from collections.abc import Collection, Container, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

_ID = 0


class WindowStorage(BaseStorage):
    """Holds one study. A trial's id is its number; numbers need not be dense.

    Trials are handed out themselves, never copies of them: samplers only look.

    Attributes:
        next_number: Number that the next new trial gets.
        trials: The trials that are held, by number.
        hidden: Numbers of those that are not shown.
    """

    def __init__(self) -> None:
        self.next_number = 0
        self.trials: dict[int, FrozenTrial] = {}
        self.hidden: set[int] = set()
        self._numbers: list[int] = []
        self._directions: list[StudyDirection] = []
        self._system_attrs: dict[str, Any] = {}

    def add(self, trial: FrozenTrial) -> None:
        """Hold this trial, in the place of its number."""
        if trial.number not in self.trials:
            insort(self._numbers, trial.number)
        self.trials[trial.number] = trial
        self.next_number = max(self.next_number, trial.number + 1)

    def forget(self, numbers: Collection[int]) -> None:
        """Hold these no longer."""
        gone = set(numbers)
        for number in gone:
            del self.trials[number]
        if len(gone) == 1:
            self._numbers.remove(*gone)
        else:
            self._numbers = [number for number in self._numbers if number not in gone]

    def forget_study_attrs(self, keys: Collection[str]) -> None:
        """Hold these attributes of the study no longer."""
        for key in keys:
            del self._system_attrs[key]

    # --- what Optuna asks for -----------------------------------------------------------------------------------------

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:  # noqa: ARG002
        self._directions = list(directions)
        return _ID

    def get_study_id_from_name(self, study_name: str) -> int:  # noqa: ARG002
        return _ID

    def get_study_name_from_id(self, study_id: int) -> str:  # noqa: ARG002
        return "mpiens"

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:  # noqa: ARG002
        return self._directions

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:  # noqa: ARG002
        return {}

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:  # noqa: ARG002
        return self._system_attrs

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:  # noqa: ARG002
        self._system_attrs[key] = value

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:  # noqa: ARG002
        assert template_trial is None
        number = self.next_number
        self.add(make_trial(number, TrialState.RUNNING, {}, {}))
        return number

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        trial = self.trials[trial_id]
        trial.params[param_name] = distribution.to_external_repr(param_value_internal)
        trial.distributions[param_name] = distribution

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.trials[trial_id].system_attrs[key] = value

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self.trials[trial_id]

    def get_all_trials(
        self,
        study_id: int,  # noqa: ARG002
        deepcopy: bool = True,  # noqa: ARG002
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        if states == (TrialState.WAITING,):
            return []  # Nothing ever waits here, and Optuna looks for it at each ask.
        numbers = [n for n in self._numbers if n not in self.hidden] if self.hidden else self._numbers
        held = map(self.trials.__getitem__, numbers)
        return [trial for trial in held if trial.state in states] if states is not None else list(held)

    # --- what it never asks for here ----------------------------------------------------------------------------------

    def delete_study(self, study_id: int) -> None:
        raise NotImplementedError

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        raise NotImplementedError

    def get_all_studies(self) -> list[FrozenStudy]:
        raise NotImplementedError

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        raise NotImplementedError

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        raise NotImplementedError

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        raise NotImplementedError


def make_trial(
    number: int, state: TrialState, params: dict[str, Any], distributions: dict[str, BaseDistribution]
) -> FrozenTrial:
    """A trial without values."""
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=state,
        value=None,
        datetime_start=None,
        datetime_complete=None,
        params=params,
        distributions=distributions,
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )
