"""The supervisor: one thread that starts hosts, hears how they fare and starts them again."""

import logging
import os
import selectors
import shutil
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from appliance import frames
from appliance.config import Config
from appliance.engine.child import Child
from appliance.engine.event_loop import EventLoop
from appliance.engine.host import Host
from appliance.engine.nursery import Nursery, return_code_words
from appliance.engine.served import FAILED, READY, STARTING, Served
from appliance.engine.tuning import Tunings
from appliance.errors import decoded
from appliance.host.specification import HostEvent, HostSpecification, NurseryEvent

_log = logging.getLogger(__name__)
#: A process that was ready for so long begins anew with its back-off.
_HEALTHY_SECONDS = 10.0
_FIRST_PAUSE_SECONDS = 0.25
#: How long a host that was told to end may take before it is killed.
_FAREWELL_SECONDS = 2.0
#: How long the nursery may take to report an end that was seen before it counts as hung.
_REPORT_SECONDS = 5.0
_WORD_SECONDS = 1.0


def backoff_seconds(deaths: int, *, longest_seconds: float) -> float:
    """Given how often in a row something died, return the pause before it is started again.

    There is none at first; then it doubles up to the longest.
    """
    if deaths <= 1:
        return 0.0
    return float(min(longest_seconds, _FIRST_PAUSE_SECONDS * 2 ** min(deaths - 2, 20)))


class Supervisor(EventLoop):
    """Owns the nursery and every host process.

    Threads: `start`, `serve`, `rest`, `retire`, `replace`, `stop` and `heartbeat_age_seconds` are
    for any; all else runs in its own thread.
    """

    def __init__(
        self,
        config: Config,
        *,
        cache_directory: Path,
        threads: Callable[[str], int],
        tunings: Tunings,
        on_restart: Callable[[Served, str], None],
        on_load_failed: Callable[[Served], None],
    ) -> None:
        super().__init__("supervisor")
        self._config = config
        self._cache_directory = cache_directory
        self._threads = threads
        self._tunings = tunings
        self._on_restart = on_restart
        self._on_load_failed = on_load_failed
        self._children: dict[int, Child] = {}
        self._last_token = 0
        self._nursery: Nursery | None = None
        self._nursery_deaths = 0

    def serve(self, served: Served) -> None:
        """Given a version, start a host for it; its state says how that went."""
        served.become(STARTING)
        self._post(lambda: self._spawn(served))

    def rest(self, host: Host) -> None:
        """Given a host that no version calls any more, let its process end."""
        self._post(lambda: self._dismiss(lambda child: child.host is host))

    def retire(self, served: Served, *, drain_seconds: float) -> None:
        """Given a version, take it out of service; its host ends once its calls have finished.

        Return at once, so that whoever switched need not wait.
        """
        host = served.retire()
        if host is None or not drain_seconds:
            self._post(lambda: self._dismiss(lambda child: child.served is served))
            return

        def drain() -> None:
            host.wait_until_quiet(drain_seconds)
            self._post(lambda: self._dismiss(lambda child: child.served is served))

        threading.Thread(target=drain, name=f"retire {served.name}", daemon=True).start()

    def replace(self, host: Host, reason: str) -> None:
        """Given a host that hangs, kill it; its death brings the next one."""
        self._post(lambda: self._replace(host, reason))

    def _begin(self) -> None:
        self._start_nursery()

    def _start_nursery(self) -> None:
        if self._is_stopping:
            return
        try:
            self._nursery = Nursery()
        except OSError as fault:
            self._nursery_deaths += 1
            pause = self._backoff(self._nursery_deaths)
            _log.error("nursery not started", extra={"reason": str(fault)})
            self._after(max(pause, _FIRST_PAUSE_SECONDS), self._start_nursery)
        else:
            self._selector.register(self._nursery.socket, selectors.EVENT_READ, self._hear_nursery)

    def _backoff(self, deaths: int) -> float:
        longest_seconds = self._config.models.restart_backoff_seconds
        return backoff_seconds(deaths, longest_seconds=longest_seconds)

    def _spawn(self, served: Served) -> None:
        if self._is_stopping or served.is_retired:
            return
        self._last_token += 1
        token = self._last_token
        try:
            if self._nursery is None:
                raise ConnectionError("there is no nursery right now")
            control = self._nursery.spawn(token, self._specification(served))
        except OSError:
            self._after(_FIRST_PAUSE_SECONDS, lambda: self._spawn(served))
            return
        self._children[token] = Child(served=served, control=control)
        self._selector.register(control, selectors.EVENT_READ, lambda: self._hear_host(token))
        self._after(self._config.models.start_seconds, lambda: self._give_up_start(token))

    def _specification(self, served: Served) -> HostSpecification:
        config, place = self._config, served.place
        cores = self._threads(place.model)
        tuned = self._tunings.of(place.model, place.version, cores=cores)
        return HostSpecification(
            directory=str(place.directory),
            cache_directory=str(self._cache_of(served)),
            threads=tuned.threads if tuned else cores,
            streams=tuned.streams if tuned else 0,
            connections=config.http.threads + config.http.control_threads,
            memory_bytes=config.models.memory_bytes,
            image_pixels=config.limits.image_pixels,
            image_formats=config.limits.image_formats,
            tensor_batch=config.limits.tensor_batch,
            texts=config.limits.texts,
            text_bytes=config.limits.text_bytes,
            log_level=config.log.level,
        )

    def _cache_of(self, served: Served) -> Path:
        """Return where the version's compiled form is kept: apart, so that it can be dropped."""
        place = served.place
        return self._cache_directory / place.model / str(place.version)

    def _hear_nursery(self) -> None:
        event = self._nursery.event() if self._nursery else None
        if event is None:
            self._lose_nursery()
        elif event.kind == "ended":
            self._bury(event)
        elif event.token in self._children:
            if event.kind == "born":
                self._note_birth(event.token, event.process_id)
            else:
                self._after_death(self._forget(event.token), f"not started: {event.reason}")

    def _note_birth(self, token: int, process_id: int) -> None:
        child = self._children[token]
        child.process_id = process_id
        if child.killed_because:  # given up while the nursery was still busy
            child.kill()
        elif child.early_word is not None:
            self._ready(token, child, child.early_word)

    def _hear_host(self, token: int) -> None:
        child = self._children.get(token)
        if child is None:
            return
        try:
            give_up_at = time.monotonic() + _WORD_SECONDS
            message, _ = frames.receive(child.control, give_up_at=give_up_at)
            event = msgspec.convert(message, HostEvent)
        except (OSError, ValueError):
            self._lose_sight(token, child)
            return
        if event.kind == "ready":
            self._ready(token, child, event)
        else:
            self._load_failed(child, event)

    def _lose_sight(self, token: int, child: Child) -> None:
        """A host's control socket closed: the nursery will say how it ended, in a moment."""
        child.stop_hearing(self._selector)
        if child.ready_at is not None:
            child.served.become(STARTING, "its process is gone; it is started again")
        child.kill()  # if it only talked nonsense; how it ended is settled otherwise
        self._after(_REPORT_SECONDS, lambda: self._expect_buried(token))

    def _ready(self, token: int, child: Child, event: HostEvent) -> None:
        if child.process_id is None:
            child.early_word = event
            return
        if child.killed_because:
            return
        served = child.served
        deadline_seconds = self._config.models.deadline_seconds
        child.host = Host(child.control, child.process_id, deadline_seconds=deadline_seconds)
        child.ready_at = time.monotonic()
        served.description = event
        served.canary.note(seconds=served.canary.seconds)  # loading ran the same samples
        served.is_trial, served.was_ready, served.has_dropped_cache = False, True, False
        served.last_used = child.ready_at  # being idle begins here
        if not served.become(READY, host=child.host):
            self._farewell(token, child)
            return
        served.is_expected = False  # whoever loses this host need not wait for the next
        _log.info(
            "host ready",
            extra={"model": served.name, "load_seconds": round(event.load_seconds, 3)},
        )

    def _load_failed(self, child: Child, event: HostEvent) -> None:
        reason = decoded(event.problem).detail
        if child.served.may_load_later(event.cause):
            child.load_fault = reason  # its end, which follows, has it started again
            return
        child.is_wanted = False
        self._fail(child.served, reason)

    def _fail(self, served: Served, reason: str) -> None:
        if served.become(FAILED, reason):
            self._on_load_failed(served)
            _log.error("model load failed", extra={"model": served.name, "reason": reason})

    def _give_up_start(self, token: int) -> None:
        child = self._children.get(token)
        if child is None or child.ready_at is not None or not child.is_wanted:
            return
        seconds = self._config.models.start_seconds
        child.kill(f"it did not load within {seconds:g} s (models.start_seconds)")
        self._after(_REPORT_SECONDS, lambda: self._expect_buried(token))

    def _replace(self, host: Host, reason: str) -> None:
        for token, child in self._children.items():
            if child.host is host and not child.killed_because:
                child.kill(reason)
                self._after(_REPORT_SECONDS, partial(self._expect_buried, token))

    def _bury(self, event: NurseryEvent) -> None:
        for token, child in list(self._children.items()):
            if child.process_id == event.process_id:
                words = return_code_words(os.waitstatus_to_exitcode(event.wait_status))
                self._after_death(self._forget(token), words)

    def _forget(self, token: int) -> Child:
        child = self._children.pop(token)
        child.stop_hearing(self._selector)
        return child

    def _after_death(self, child: Child, words: str) -> None:
        served = child.served
        words = child.killed_because or child.load_fault or words
        if child.host is not None:
            child.host.ended(words)
        if self._is_stopping or not child.is_wanted:
            return
        if child.ready_at is None and self._drop_cache(child):
            self._spawn(served)
        elif served.is_trial:
            self._fail(served, f"its process ended while loading ({words})")
        else:
            self._start_again(child, words)

    def _drop_cache(self, child: Child) -> bool:
        """Throw away what was kept of a compiled version that ended its process while loading.

        Return whether to try once more without: a damaged file in the cache would else end every
        process to come.
        """
        served = child.served
        is_crash = not (child.killed_because or child.load_fault) and child.process_id is not None
        if not is_crash or served.has_dropped_cache or served.is_retired:
            return False
        served.has_dropped_cache = True
        shutil.rmtree(self._cache_of(served), ignore_errors=True)
        _log.warning("compiled model dropped", extra={"model": served.name})
        return True

    def _start_again(self, child: Child, words: str) -> None:
        served = child.served
        is_healthy = child.lived_seconds > _HEALTHY_SECONDS
        served.consecutive_deaths = 1 if is_healthy else served.consecutive_deaths + 1
        if child.load_fault:  # trying again at once would meet the same shortage
            served.consecutive_deaths = max(2, served.consecutive_deaths)
        pause = self._backoff(served.consecutive_deaths)
        when = f" in {pause:g} s" if pause else ""
        served.canary.note(reason=words)
        ended = "it could not be loaded" if child.load_fault else "its process ended"
        served.is_expected = False
        if not served.become(STARTING, f"{ended} ({words}); it is started again{when}"):
            return
        served.restarts += 1
        self._on_restart(served, words)
        _log.error(
            "host died",
            extra={"model": served.name, "reason": words, "restart_in_seconds": pause},
        )
        self._after(pause, lambda: self._spawn(served))

    def _dismiss(self, is_meant: Callable[[Child], bool]) -> None:
        for token, child in list(self._children.items()):
            if is_meant(child) and child.is_wanted:
                self._farewell(token, child)

    def _farewell(self, token: int, child: Child) -> None:
        """Tell a host to end, and make sure of it later."""
        child.is_wanted = False
        child.stop_hearing(self._selector)
        self._after(_FAREWELL_SECONDS, lambda: self._make_sure(token))

    def _make_sure(self, token: int) -> None:
        child = self._children.get(token)
        if child is not None:  # else its process id may be another's by now
            # One that was never reported as born is killed when it is; the nursery has to say so.
            child.kill("it was taken out of service")
            self._after(_REPORT_SECONDS, lambda: self._expect_buried(token))

    def _expect_buried(self, token: int) -> None:
        if token in self._children:
            _log.error("nursery hangs: it has not reported the end of a host")
            self._lose_nursery()

    def _lose_nursery(self) -> None:
        """The nursery died, or hangs, and the kernel ends all hosts with it: begin anew."""
        nursery, self._nursery = self._nursery, None
        if nursery is None:
            return
        self._selector.unregister(nursery.socket)
        words = nursery.end()
        _log.error("nursery died", extra={"reason": words})
        is_healthy = time.monotonic() - nursery.started > _HEALTHY_SECONDS
        self._nursery_deaths = 1 if is_healthy else self._nursery_deaths + 1
        self._after(self._backoff(self._nursery_deaths), self._start_nursery)
        for token in list(self._children):
            child = self._forget(token)
            self._after_death(child, f"the process that starts models ended: {words}")

    def _finish(self) -> None:
        for child in self._children.values():
            child.stop_hearing(self._selector)
        give_up_at = time.monotonic() + _FAREWELL_SECONDS
        while self._children and self._nursery and time.monotonic() < give_up_at:
            self._go_round(0.1)
        for child in self._children.values():
            child.kill("the appliance stopped")
        if self._nursery is not None:
            self._selector.unregister(self._nursery.socket)
            self._nursery.end()
