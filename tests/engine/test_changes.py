"""Prove, write down, switch: in this order, and nothing when one of them fails."""

from pathlib import Path

import pytest

from appliance.engine.traffic import Traffic
from appliance.errors import Conflict, DatabaseUnavailable, InvalidInput, ModelInvalid, NotFound
from tests.engine.running import Running, changed, eventually, is_gone, running
from tests.tiny_models import write_colour_model

OTHER = ("rouge", "vert", "bleu")


def refuse(before: int | None) -> None:
    raise DatabaseUnavailable("the disk is gone")


def two_versions(engine: Running, name: str) -> None:
    engine.install(name)
    write_colour_model(engine.models_directory, name=name, version=2, labels=OTHER)


def hosts_of(engine: Running, name: str) -> list[int]:
    """Return the process ids of all hosts of a model that the supervisor knows."""
    children = list(engine.engine.supervisor._children.values())
    return [child.process_id or 0 for child in children if child.served.place.model == name]


def test_the_commit_comes_after_the_proof_and_before_the_switch(shared: Running) -> None:
    two_versions(shared, "ordered")
    told: list[object] = []

    def commit(before: int | None) -> None:
        told.append((before, len(hosts_of(shared, "ordered")), shared.predict("ordered")))

    shared.engine.activate("ordered", 2, commit=commit)
    assert told == [(1, 2, ("red", 1))]
    assert shared.predict("ordered") == ("rouge", 2)


def test_what_cannot_be_written_down_does_not_happen(shared: Running) -> None:
    two_versions(shared, "unwritten")
    host = shared.process_of("unwritten")
    with pytest.raises(DatabaseUnavailable):
        shared.engine.activate("unwritten", 2, commit=refuse)
    with pytest.raises(DatabaseUnavailable):
        shared.engine.unload("unwritten", commit=refuse)
    with pytest.raises(DatabaseUnavailable):
        shared.engine.load("unwritten", commit=refuse)
    assert shared.predict("unwritten") == ("red", 1)
    eventually(lambda: hosts_of(shared, "unwritten") == [host])
    with pytest.raises(DatabaseUnavailable):
        shared.engine.set_traffic("unwritten", Traffic(shadow="2"), commit=refuse)
    assert shared.engine.traffic("unwritten") == Traffic()
    eventually(lambda: hosts_of(shared, "unwritten") == [host])


def test_a_version_that_fails_is_never_written_down(shared: Running) -> None:
    shared.install("sound")
    write_colour_model(shared.models_directory, name="sound", version=2, golden_label="green")
    told: list[int | None] = []
    with pytest.raises(ModelInvalid):
        shared.engine.activate("sound", 2, commit=told.append)
    with pytest.raises(ModelInvalid):
        shared.engine.set_traffic("sound", Traffic(traffic={"1": 50, "2": 50}), commit=told.append)
    assert told == []
    assert shared.predict("sound") == ("red", 1)


def test_an_active_or_shared_version_cannot_be_removed(shared: Running) -> None:
    two_versions(shared, "kept")
    with pytest.raises(Conflict, match="kept@1 is active"):
        shared.engine.remove("kept", 1, commit=refuse)
    shared.engine.set_traffic("kept", Traffic(shadow="2"), commit=lambda _: None)
    with pytest.raises(Conflict, match="kept@2 gets traffic"):
        shared.engine.remove("kept", 2, commit=refuse)
    shared.engine.set_traffic("kept", Traffic(), commit=lambda _: None)
    host = shared.process_of("kept", 2)
    with pytest.raises(DatabaseUnavailable):
        shared.engine.remove("kept", 2, commit=refuse)
    assert shared.predict("kept", version=2) == ("rouge", 2)
    shared.engine.remove("kept", 2, commit=lambda _: None)
    eventually(lambda: is_gone(host))
    with pytest.raises(NotFound):
        shared.engine.remove("kept", 9, commit=refuse)


def test_one_models_change_does_not_wait_for_anothers(shared: Running) -> None:
    shared.install("slow")
    shared.install("quick")
    with shared.engine._changes._changing("slow"):
        shared.engine.load("quick")
        with pytest.raises(Conflict, match="Another change of slow"):
            shared.engine.load("slow")


def test_traffic_needs_an_active_version_of_the_same_task(tmp_path: Path) -> None:
    with running(tmp_path) as engine:
        write_colour_model(engine.models_directory, name="mixed")
        with pytest.raises(Conflict, match="No version of mixed is active"):
            engine.engine.set_traffic("mixed", Traffic(shadow="1"), commit=refuse)
        engine.engine.load("mixed")
        write_colour_model(engine.models_directory, name="mixed", version=2, task="step-detection")
        with pytest.raises(InvalidInput, match=r"mixed@2 does step-detection.*cannot share"):
            engine.engine.set_traffic("mixed", Traffic(shadow="2"), commit=refuse)


def test_traffic_outlives_a_restart_and_ends_with_an_activation(tmp_path: Path) -> None:
    spread = Traffic(traffic={"1": 0, "2": 100})
    with running(tmp_path, changed(limits={"waiting_seconds": 30.0})) as engine:
        two_versions(engine, "spread")
    with running(tmp_path, changed(limits={"waiting_seconds": 30.0})) as engine:
        engine.engine.start({"spread": 1}, {"spread": spread, "gone": spread})
        engine.process_of("spread", 1)
        engine.process_of("spread", 2)
        header = {"method": "canary"}
        answered = [
            engine.engine.call("spread", None, header, b"", sender=sender)[0]["version"]
            for sender in ("", "cam1", "cam2")
        ]
        assert answered == [1, 2, 2]
        engine.engine.activate("spread", 2)
        assert engine.engine.traffic("spread") == Traffic()
        engine.engine.activate("spread", 1)
        assert engine.engine.call("spread", None, header, b"", sender="cam1")[0]["version"] == 1


def test_traffic_to_a_version_that_is_gone_is_dropped_at_the_start(tmp_path: Path) -> None:
    with running(tmp_path) as engine:
        write_colour_model(engine.models_directory, name="thinned")
        engine.engine.start({"thinned": 1}, {"thinned": Traffic(shadow="9")})
        assert engine.engine.traffic("thinned") == Traffic()
