"""What the front tells a host to be. Imports nothing heavy: the front uses it too."""

import msgspec


class HostSpecification(msgspec.Struct, frozen=True, kw_only=True):
    """One host: which version it serves, where it listens and what it may use."""

    directory: str
    socket_path: str
    cache_directory: str
    threads: int
    connections: int
    memory_bytes: int
    image_pixels: int
    image_formats: tuple[str, ...]
    tensor_batch: int


class Spawn(msgspec.Struct, frozen=True, kw_only=True):
    """Front → nursery, with the host's control socket attached as a file descriptor."""

    token: int
    specification: HostSpecification


class NurseryEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Nursery → front: `born` with the process id, or `ended` with the wait status."""

    kind: str
    process_id: int
    token: int = 0
    wait_status: int = 0


class HostEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Host → front on the control socket: `ready` with what it serves, or `failed` with a problem."""

    kind: str
    inputs: tuple[dict[str, object], ...] = ()
    outputs: tuple[dict[str, object], ...] = ()
    labels: dict[str, tuple[str, ...]] = {}
    load_seconds: float = 0.0
    problem: dict[str, object] = {}
