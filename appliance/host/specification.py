"""What the front tells a host to be. Imports nothing heavy: the front uses it too."""

import msgspec

#: Whose fault it is that a version could not be loaded: its files differ from what was imported,
#: the model itself does not load or prove itself, or the machine is short of something.
FILES, MODEL, MACHINE = "files", "model", "machine"


class HostSpecification(msgspec.Struct, frozen=True, kw_only=True):
    """One host: which version it serves and what it may use.

    `streams` is how many inferences run side by side, each on its share of the threads; 0 is one
    for each thread.
    """

    directory: str
    cache_directory: str
    threads: int
    streams: int = 0
    connections: int
    memory_bytes: int
    image_pixels: int
    image_formats: tuple[str, ...]
    tensor_batch: int
    texts: int = 100
    text_bytes: int = 1024 * 1024
    log_level: str = "info"


class JobProcess(msgspec.Struct, frozen=True, kw_only=True):
    """What the process of one attempt at a job may use; what to do comes over its control socket.

    `cpu_seconds` bounds its time on all cores together, `file_bytes` each file it writes.
    """

    memory_bytes: int
    cpu_seconds: int
    file_bytes: int
    log_level: str = "info"


class Spawn(msgspec.Struct, frozen=True, kw_only=True):
    """Front → nursery, with the control socket attached as a file descriptor.

    It asks for a host, or for the process of a job where `job` says what that may use.
    """

    token: int
    specification: HostSpecification | None = None
    job: JobProcess | None = None


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

    `ready` with what it serves, or `failed` with a problem and whose fault that is. In the other
    direction the front sends single bytes, each with one end of a new connection attached.
    """

    kind: str
    inputs: tuple[dict[str, object], ...] = ()
    outputs: tuple[dict[str, object], ...] = ()
    labels: dict[str, tuple[str, ...]] = {}
    #: What the model's file and manifest say of it, for openvino-model-api (`rt_info`).
    model_info: dict[str, str] = {}
    load_seconds: float = 0.0
    problem: dict[str, object] = {}
    cause: str = MODEL
