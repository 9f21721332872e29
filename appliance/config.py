"""Every setting of the appliance: its type, default, bounds and meaning, in one place.

From these structs come validation, the commented sample file, the man page, `config show` and the
environment overrides `APPLIANCE_<SECTION>__<KEY>`. Reading a file is in `config_file.py`.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from appliance.config_kept import Backup as Backup
from appliance.config_kept import History as History
from appliance.config_kept import Jobs as Jobs
from appliance.config_kept import State as State
from appliance.config_values import (
    MEBIBYTE,
    PICTURE_FORMATS,
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
    ] = PICTURE_FORMATS
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
    texts: Annotated[Count, Meta(description="Most texts of one request.")] = 100
    text_bytes: Annotated[
        Bytes, Meta(description="Most bytes of one request to a text model.")
    ] = MEBIBYTE


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
        Meta(
            description="Answers DeepStack's scene and ModelShip's image. Empty: the only one, or"
            " of several the only one with 100 classes or more."
        ),
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
