"""What the front tells a host to be. Imports nothing heavy: the front uses it too."""

import msgspec


class HostSpecification(msgspec.Struct, frozen=True, kw_only=True):
    """One host: which version it serves and what it may use."""

    directory: str
    cache_directory: str
    threads: int
    connections: int
    memory_bytes: int
    image_pixels: int
    image_formats: tuple[str, ...]
    tensor_batch: int
    log_level: str = "info"


class Spawn(msgspec.Struct, frozen=True, kw_only=True):
    """Front → nursery, with the host's control socket attached as a file descriptor."""

    token: int
    specification: HostSpecification


class NurseryEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Nursery → front.

    `born` with the process id of a token, `ended` with a process id and its wait status, or
    `unborn` with the token and the reason why no process could be started.
    """

    kind: str
    process_id: int = 0
    token: int = 0
    wait_status: int = 0
    reason: str = ""


class HostEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Host → front on the control socket.

    `ready` with what it serves, or `failed` with a problem. In the other direction the front sends
    single bytes, each with one end of a new connection attached.
    """

    kind: str
    inputs: tuple[dict[str, object], ...] = ()
    outputs: tuple[dict[str, object], ...] = ()
    labels: dict[str, tuple[str, ...]] = {}
    load_seconds: float = 0.0
    problem: dict[str, object] = {}
