from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from appliance.actions import model_settings as subject
from appliance.actions.model_settings import AutoRollback, Policy, Probation
from appliance.clock import ManualClock
from appliance.engine.status import Conduct
from appliance.engine.traffic import Traffic
from appliance.store import settings
from appliance.store.database import Database
from tests.access_parts import opened

PROBATION = Probation(
    version=2, before=1, until_seconds=60.0, rule=AutoRollback(), baseline=Conduct(5, 1, 0.5)
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path / "state", ManualClock()) as database:
        yield database


def test_what_is_kept_comes_back_by_model(database: Database) -> None:
    policy = Policy(auto_rollback=AutoRollback(seconds=5, max_latency_ratio=3))
    subject.put_traffic(database, "a", Traffic(traffic={"1": 100.0}))
    subject.put_traffic(database, "b", Traffic(shadow="2"))
    subject.put_policy(database, "a", policy)
    subject.put_probation(database, "a", PROBATION)
    assert subject.traffic(database) == {
        "a": Traffic(traffic={"1": 100.0}),
        "b": Traffic(shadow="2"),
    }
    assert subject.policy(database, "a") == policy
    assert subject.policy(database, "b") == Policy()
    assert subject.probations(database) == {"a": PROBATION}


def test_nothing_is_kept_of_what_says_nothing(database: Database) -> None:
    subject.put_traffic(database, "a", Traffic(shadow="2"))
    subject.put_traffic(database, "a", Traffic())
    subject.put_policy(database, "a", Policy())
    subject.put_probation(database, "a", None)
    assert subject.traffic(database) == {}
    assert settings.get(database, "models.policies") is None


def test_a_model_that_is_gone_is_forgotten_whole(database: Database) -> None:
    for model in ("a", "b"):
        subject.put_traffic(database, model, Traffic(shadow="2"))
        subject.put_policy(database, model, Policy(auto_rollback=AutoRollback()))
        subject.put_probation(database, model, PROBATION)
    subject.forget(database, "a")
    assert list(subject.traffic(database)) == ["b"]
    assert list(subject.probations(database)) == ["b"]
    assert subject.policy(database, "a") == Policy()
    assert subject.policy(database, "b") != Policy()


def test_what_a_newer_release_wrote_is_no_fault(database: Database) -> None:
    settings.put(database, "models.traffic", {"a": {"mirror": 7}})
    assert subject.traffic(database) == {}


@pytest.mark.parametrize(
    "wrong", [{"seconds": 0}, {"max_error_rate": 1.5}, {"max_latency_ratio": 0.5}, {"second": 1}]
)
def test_a_rule_that_cannot_be_meant_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, AutoRollback)
