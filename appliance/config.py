"""Every setting of the appliance: its type, default, bounds and meaning, in one place.

From these structs come validation, the commented sample file, the man page, `config show` and the
environment overrides `APPLIANCE_<SECTION>__<KEY>`. Reading a file is in `config_file.py`.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from appliance.config_values import (
    MEBIBYTE,
    PRIVATE_NETWORKS,
    Bytes,
    Count,
    Port,
    Seconds,
    Section,
    Weight,
)


class Http(Section, frozen=True):
    """The HTTP listener."""

    host: Annotated[
        str, Meta(description="Address to listen on; 0.0.0.0 is every IPv4 address.")
    ] = "0.0.0.0"
    port: Annotated[Port, Meta(description="TCP port; 0 takes any free one.")] = 8080
    host_names: Annotated[
        tuple[str, ...],
        Meta(
            description="Host names clients may use besides IP addresses, localhost and this"
            " machine's own name; an entry *.example.lan covers all below it; ['*'] switches the"
            " check off."
        ),
    ] = ()
    threads: Annotated[Count, Meta(description="Threads that wait for models to answer.")] = 8
    control_threads: Annotated[
        Count, Meta(description="Threads kept for health, metrics and administration.")
    ] = 4
    connections: Annotated[Count, Meta(description="Open connections of all clients.")] = 256
    connections_per_address: Annotated[
        Count, Meta(description="Open connections from one address (loopback is exempt).")
    ] = 64
    header_seconds: Annotated[
        Seconds, Meta(description="Time a client has to send its request headers.")
    ] = 10.0
    body_grace_seconds: Annotated[
        Seconds, Meta(description="Time before the minimum body rate counts.")
    ] = 10.0
    body_bytes_per_second: Annotated[
        Bytes, Meta(description="Slowest upload that is let go on after the grace time.")
    ] = 1024
    response_bytes_per_second: Annotated[
        Bytes, Meta(description="Slowest reader of an answer that is let go on.")
    ] = 1024
    idle_seconds: Annotated[
        Seconds, Meta(description="Time an idle keep-alive connection stays open.")
    ] = 30.0
    drain_seconds: Annotated[
        Seconds, Meta(description="Time running requests get to finish when the service stops.")
    ] = 25.0


class State(Section, frozen=True):
    """Where the appliance keeps what it knows."""

    dir: Annotated[
        str, Meta(description="State directory: database, admin key, models, files, spool.")
    ] = "state"
    cache_dir: Annotated[
        str, Meta(description="Compiled models; may be deleted at any time. Empty: <state>/cache.")
    ] = ""
    runtime_dir: Annotated[
        str, Meta(description="Unix sockets. Empty: <state>/run, or a temporary directory.")
    ] = ""
    reserve_bytes: Annotated[
        Bytes, Meta(description="Size of the reserve file that is given up when the disk is full.")
    ] = 64 * MEBIBYTE
    database_bytes: Annotated[
        Bytes, Meta(description="Largest size of the database; old history goes first.")
    ] = 10 * 1024 * MEBIBYTE


class Access(Section, frozen=True):
    """Who may call."""

    required: Annotated[
        bool, Meta(description="Callers need an API key. Only loopback may be served without.")
    ] = True
    requests_per_second: Annotated[
        float, Meta(gt=0, le=1_000_000, description="Sustained requests per key, each second.")
    ] = 2000.0
    burst: Annotated[Count, Meta(description="Requests a key may send at once.")] = 4000
    anonymous_requests_per_second: Annotated[
        float,
        Meta(gt=0, le=1_000_000, description="Sustained requests per address without a key."),
    ] = 50.0
    anonymous_burst: Annotated[
        Count, Meta(description="Requests an address may send at once without a valid key.")
    ] = 200
    failed_keys_per_second: Annotated[
        float, Meta(gt=0, le=1_000_000, description="Sustained wrong keys per address.")
    ] = 1.0
    failed_keys_burst: Annotated[
        Count, Meta(description="Wrong keys an address may show at once before it gets 429.")
    ] = 100


class Limits(Section, frozen=True):
    """The largest things the appliance accepts."""

    body_bytes: Annotated[Bytes, Meta(description="Largest body of any request.")] = 512 * MEBIBYTE
    input_bytes: Annotated[Bytes, Meta(description="Largest input to predict.")] = 32 * MEBIBYTE
    json_bytes: Annotated[Bytes, Meta(description="Largest JSON body of administration.")] = (
        MEBIBYTE
    )
    spool_bytes: Annotated[
        Bytes,
        Meta(description="Bytes of request bodies held on disk at once, all clients together."),
    ] = 2048 * MEBIBYTE
    image_pixels: Annotated[
        int, Meta(ge=1, le=500_000_000, description="Most pixels of a picture.")
    ] = 25_000_000
    image_formats: Annotated[
        tuple[str, ...], Meta(description="Picture formats that are decoded, by Pillow's names.")
    ] = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "AVIF", "TIFF")
    waiting: Annotated[
        Count,
        Meta(
            description="Requests for predictions that may wait for one of http.threads, and again"
            " for one model; the next one gets 503 at once."
        ),
    ] = 128
    waiting_seconds: Annotated[
        Seconds, Meta(description="Longest wait for a model before 503.")
    ] = 5.0
    tensor_batch: Annotated[
        Count, Meta(description="Largest batch dimension of a tensor request.")
    ] = 1024


class Models(Section, frozen=True):
    """Hosts: the child processes that run models."""

    threads: Annotated[
        int, Meta(ge=0, le=1024, description="Cores for inference; 0 takes all that are allowed.")
    ] = 0
    in_flight: Annotated[
        int,
        Meta(ge=0, le=1024, description="Requests inside one model at once; 0 is cores plus one."),
    ] = 0
    deadline_seconds: Annotated[
        Seconds, Meta(description="Longest a model may take for one request before 504.")
    ] = 10.0
    deadline_misses: Annotated[
        Count, Meta(description="Missed deadlines after which a host is replaced.")
    ] = 2
    start_seconds: Annotated[
        Seconds, Meta(description="Longest a model may take to load and answer its samples.")
    ] = 120.0
    memory_bytes: Annotated[
        Bytes, Meta(description="Address space of one host; more ends it.")
    ] = 8 * 1024 * MEBIBYTE
    canary_seconds: Annotated[
        Seconds, Meta(description="Time between canary inferences of each active model.")
    ] = 10.0
    restart_backoff_seconds: Annotated[
        Seconds, Meta(description="Longest pause before a host that keeps dying is started again.")
    ] = 60.0
    preload: Annotated[
        bool,
        Meta(description="Start active models with the appliance; else with their first request."),
    ] = True
    idle_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=86400 * 3650,
            description="Time without requests after which an active model's process ends; the"
            " next request starts it again and waits. 0 is never.",
        ),
    ] = 0.0
    extra_hosts: Annotated[
        Count, Meta(description="Versions that run only because they are called by their number.")
    ] = 2
    extra_idle_seconds: Annotated[
        Seconds, Meta(description="Time without requests after which such a version ends.")
    ] = 300.0
    weights: Annotated[
        tuple[Weight, ...],
        Meta(
            description='Shares of the cores, such as "vehicle-type=3"; a model that is not'
            " named has 1. Empty: each model may use all cores."
        ),
    ] = ()
    starter: Annotated[
        bool, Meta(description="Install the models that ship with the appliance.")
    ] = True
    import_seconds: Annotated[
        Seconds, Meta(description="Longest the import of a model may take.")
    ] = 600.0
    import_memory_bytes: Annotated[
        Bytes, Meta(description="Address space of an import; more ends it.")
    ] = 8 * 1024 * MEBIBYTE
    import_bytes: Annotated[
        Bytes, Meta(description="Largest model after unpacking and converting.")
    ] = 4 * 1024 * MEBIBYTE
    url_hosts: Annotated[
        tuple[str, ...],
        Meta(description="Hosts (HOST or HOST:PORT) models may be fetched from. Empty: none."),
    ] = ()
    url_networks: Annotated[
        tuple[str, ...],
        Meta(description="Networks that are not public and yet may be fetched from."),
    ] = ()


class History(Section, frozen=True):
    """Recorded predictions."""

    enabled: Annotated[bool, Meta(description="Record every prediction.")] = True
    required: Annotated[
        bool, Meta(description="Answer 507 instead of predicting when nothing can be recorded.")
    ] = False
    keep_days: Annotated[Seconds, Meta(description="Days a prediction is kept.")] = 365.0
    keep_rows: Annotated[
        int, Meta(ge=1, le=1_000_000_000, description="Most predictions kept.")
    ] = 20_000_000
    queue_rows: Annotated[
        Count, Meta(description="Rows that may wait for the writer; beyond, 'recorded' is false.")
    ] = 10_000
    queue_bytes: Annotated[
        Bytes, Meta(description="Bytes that these rows may have; beyond, 'recorded' is false.")
    ] = 64 * MEBIBYTE
    query_seconds: Annotated[
        Seconds, Meta(description="Longest a search of the history may read before 503.")
    ] = 2.0
    full_disk_keep_days: Annotated[
        Seconds,
        Meta(description="Days a prediction is kept while the disk is full, if fewer."),
    ] = 90.0


class Jobs(Section, frozen=True):
    """Work that is stored first and done later."""

    keep_days: Annotated[Seconds, Meta(description="Days a finished job is kept.")] = 30.0
    runners: Annotated[
        int, Meta(ge=1, le=64, description="Jobs that run at once, at low priority.")
    ] = 2
    most_waiting: Annotated[Count, Meta(description="Jobs that may wait to be run.")] = 10_000
    attempts: Annotated[
        int, Meta(ge=1, le=100, description="Attempts at a job before it is dead.")
    ] = 3
    backoff_seconds: Annotated[
        Seconds,
        Meta(description="Pause before a failed job is tried again; it doubles each time."),
    ] = 5.0
    longest_backoff_seconds: Annotated[
        Seconds, Meta(description="Longest pause before a failed job is tried again.")
    ] = 300.0
    deadline_seconds: Annotated[
        Seconds, Meta(description="Longest one attempt at a job may take.")
    ] = 4 * 3600.0
    memory_bytes: Annotated[
        Bytes, Meta(description="Address space of one job's process; more ends it.")
    ] = 8 * 1024 * MEBIBYTE
    result_bytes: Annotated[
        Bytes, Meta(description="Largest result of one job, without the files it keeps.")
    ] = 16 * MEBIBYTE
    kept_bytes: Annotated[
        Bytes, Meta(description="Largest files of one job's result, all together.")
    ] = 4096 * MEBIBYTE
    wait_seconds: Annotated[
        Seconds, Meta(description="Longest an answer is held with ?wait= until a job has ended.")
    ] = 60.0
    files: Annotated[Count, Meta(description="Most files of one job's request.")] = 100
    file_bytes: Annotated[Bytes, Meta(description="Largest file of a job's request.")] = 50_000_000
    members: Annotated[Count, Meta(description="Most files inside a zip that a job reads.")] = (
        10_000
    )


class Streams(Section, frozen=True):
    """Sessions that devices feed over time."""

    idle_seconds: Annotated[
        Seconds, Meta(description="Time after which a stream without data ends.")
    ] = 3600.0
    most: Annotated[Count, Meta(description="Streams open at once.")] = 10_000
    most_per_key: Annotated[
        Count, Meta(description="Streams open at once that were opened with one key.")
    ] = 2_000
    waiting_seconds: Annotated[
        Seconds, Meta(description="Longest a chunk waits for the chunk before it.")
    ] = 5.0
    gateway_host: Annotated[str, Meta(description="Address of the gateway.")] = "0.0.0.0"
    gateway_port: Annotated[Port, Meta(description="TCP port of the WebSocket gateway.")] = 8081
    gateway_connections: Annotated[
        Count, Meta(description="WebSockets open at once, all clients together.")
    ] = 512
    gateway_connections_per_key: Annotated[
        Count, Meta(description="WebSockets open at once with one key.")
    ] = 256
    gateway_calls: Annotated[
        Count, Meta(description="Chunks the gateway has in the appliance at once.")
    ] = 16
    gateway_key_seconds: Annotated[
        Seconds, Meta(description="Time a WebSocket client has to show its key.")
    ] = 10.0
    gateway_patience_seconds: Annotated[
        Seconds,
        Meta(description="Longest the gateway tries again while the appliance cannot answer."),
    ] = 30.0


class Dialects(Section, frozen=True):
    """Clients of other servers."""

    detection_model: Annotated[
        str,
        Meta(description="Answers DeepStack's and ModelShip's detection. Empty: the first one."),
    ] = ""
    scene_model: Annotated[
        str,
        Meta(description="Answers DeepStack's scene and ModelShip's image. Empty: the first one."),
    ] = ""
    text_model: Annotated[
        str, Meta(description="Answers ModelShip's text. Empty: the first one.")
    ] = ""
    form_key_bytes: Annotated[
        int,
        Meta(
            ge=0,
            le=1024 * MEBIBYTE,
            description="Largest form taken before the api_key inside it is known (DeepStack)."
            " 65536 or less: larger ones need their key in a header.",
        ),
    ] = 8 * MEBIBYTE


class Metrics(Section, frozen=True):
    """Prometheus."""

    public: Annotated[
        tuple[str, ...],
        Meta(description="Networks that may read /metrics without a key."),
    ] = PRIVATE_NETWORKS


class Log(Section, frozen=True):
    """What is written down about running."""

    level: Annotated[
        str,
        Meta(pattern="^(debug|info|warning|error)$", description="debug, info, warning or error."),
    ] = "info"
    file: Annotated[
        str,
        Meta(description="Also write to this file, which logrotate may move away. Empty: none."),
    ] = ""
    requests: Annotated[bool, Meta(description="One line for every request.")] = True
    lines_per_second: Annotated[
        Count,
        Meta(description="Most request lines each second; the rest is counted, not written."),
    ] = 200


class Backup(Section, frozen=True):
    """Copies of the state."""

    dir: Annotated[str, Meta(description="Where backups go. Empty: <state>/backups.")] = ""
    daily: Annotated[Count, Meta(description="Daily backups kept.")] = 7
    weekly: Annotated[Count, Meta(description="Weekly backups kept.")] = 4
    monthly: Annotated[Count, Meta(description="Monthly backups kept.")] = 6
    max_age_seconds: Annotated[
        Seconds, Meta(description="Age of the newest backup after which health warns.")
    ] = 26 * 3600.0


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All sections; `Config()` is a complete configuration."""

    http: Http = Http()
    state: State = State()
    access: Access = Access()
    limits: Limits = Limits()
    models: Models = Models()
    history: History = History()
    jobs: Jobs = Jobs()
    streams: Streams = Streams()
    dialects: Dialects = Dialects()
    metrics: Metrics = Metrics()
    log: Log = Log()
    backup: Backup = Backup()
