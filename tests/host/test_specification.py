import msgspec

from appliance.host.specification import HostEvent, HostSpecification, NurseryEvent, Spawn

WORDS = HostSpecification(
    directory="models/m/1",
    cache_directory="cache",
    threads=2,
    connections=12,
    memory_bytes=1 << 33,
    image_pixels=25_000_000,
    image_formats=("JPEG", "PNG"),
    tensor_batch=1024,
)


def test_what_the_front_says_arrives_in_the_nursery() -> None:
    spawn = Spawn(token=7, specification=WORDS)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(spawn), type=Spawn) == spawn


def test_what_the_nursery_and_a_host_say_arrives_in_the_front() -> None:
    for event in (
        NurseryEvent(kind="born", process_id=9, token=7),
        NurseryEvent(kind="ended", process_id=9, wait_status=11),
        NurseryEvent(kind="unborn", token=7, reason="too many processes"),
        HostEvent(kind="ready", inputs=({"name": "x", "shape": [1, -1]},), load_seconds=0.5),
        HostEvent(kind="failed", problem={"slug": "model-invalid", "detail": "no"}),
    ):
        kind = type(event)
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=kind) == event
        # The control socket carries plain mappings (appliance/frames.py).
        carried = msgspec.msgpack.decode(msgspec.msgpack.encode(msgspec.to_builtins(event)))
        assert msgspec.convert(carried, kind) == event


def test_a_message_stays_far_below_the_sockets_limit() -> None:
    assert len(msgspec.msgpack.encode(Spawn(token=1 << 40, specification=WORDS))) < 4096
