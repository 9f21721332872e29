import msgspec

from appliance.engine.tuning import Tuning, Tunings
from appliance.machine import fingerprint
from tests.engine.running import Running

FOUND = Tuning(fingerprint="here", cores=2, streams=1, threads=2, in_flight=2)


def test_a_tuning_holds_for_this_machine_and_so_many_cores_only() -> None:
    tunings = Tunings("here")
    assert tunings.of("cats", 1, cores=2) is None
    tunings.put("cats", 1, FOUND)
    assert tunings.of("cats", 1, cores=2) == FOUND
    assert tunings.of("cats", 1, cores=4) is None
    assert tunings.of("cats", 2, cores=2) is None
    elsewhere = Tunings("elsewhere")
    elsewhere.restore({"cats@1": FOUND})
    assert elsewhere.of("cats", 1, cores=2) is None


def test_the_oldest_goes_when_there_are_too_many() -> None:
    tunings = Tunings("here")
    for version in range(1, 1005):
        kept = tunings.put("cats", version, FOUND)
    assert len(kept) == 1000
    assert "cats@1" not in kept
    assert "cats@1004" in kept


def test_a_host_is_started_as_it_was_tuned(shared: Running) -> None:
    fleet = shared.engine._fleet
    tuning = msgspec.structs.replace(FOUND, fingerprint=fingerprint(1), cores=1, threads=1)
    shared.engine.tunings.put("tuned", 1, tuning)
    shared.install("tuned")
    shared.install("untuned")
    served = [fleet.by_version[name, 1] for name in ("tuned", "untuned")]
    tuned, plain = (fleet.supervisor._specification(one) for one in served)
    assert (tuned.streams, tuned.threads) == (1, 1)
    assert (plain.streams, plain.threads) == (0, 1)
