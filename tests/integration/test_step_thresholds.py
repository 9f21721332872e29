"""The rule by which the step detector's thresholds are chosen from its training walks."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SOURCE = Path(__file__).resolve().parents[2] / "scripts" / "train" / "steps_choice.py"
CALM = np.array([[0.1, 0.2], [0.1, 0.2]])


@pytest.fixture(scope="module")
def rule() -> ModuleType:
    specification = importlib.util.spec_from_file_location("steps_choice", SOURCE)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_one_walk_that_goes_wrong_weighs_more_than_many_that_go_a_little_better(
    rule: ModuleType,
) -> None:
    good_on_most = [0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.05, -0.30]
    good_on_all = [0.02, -0.02, 0.02, 0.02, 0.02, -0.02, 0.04, -0.06]
    errors = np.array([good_on_most, good_on_all])
    assert np.abs(errors[0, :7]).mean() < np.abs(errors[1, :7]).mean()
    assert rule.choose(errors, CALM) == 1


def test_too_many_steps_are_as_wrong_as_too_few(rule: ModuleType) -> None:
    assert rule.choose(np.array([[0.0, 0.0, 0.0, 0.4], [0.0, 0.0, 0.0, -0.2]]), CALM) == 1


def test_false_steps_weigh_against_errors_each_by_its_bar(rule: ModuleType) -> None:
    share = 1 / (1 / rule.MEAN_BAR + 1 / rule.WORST_BAR)
    errors = np.array([[0.0] * 8, [share] * 8])
    assert rule.choose(errors, np.array([[0.0, 1.1], [0.0, 0.0]]) * rule.FALSE_STEPS_BAR) == 1
    assert rule.choose(errors, np.array([[0.0, 0.9], [0.0, 0.0]]) * rule.FALSE_STEPS_BAR) == 0


def test_every_kind_of_non_walking_counts(rule: ModuleType) -> None:
    errors = np.zeros((2, 8))
    assert rule.choose(errors, np.array([[0.3, 0.3, 0.3], [0.4, 0.4, 0.0]])) == 1
