"""A host process in the supervisor's books, from the moment it is asked for until it is buried."""

import contextlib
import selectors
import socket
import time
from dataclasses import dataclass, field

from appliance.engine.host import Host, kill_process
from appliance.engine.served import Served
from appliance.host.specification import HostEvent


@dataclass(slots=True, eq=False)
class Child:
    """One host process. Threads: the supervisor's only."""

    served: Served
    control: socket.socket
    process_id: int | None = None
    #: Said `ready` before the nursery said `born`.
    early_word: HostEvent | None = None
    host: Host | None = None
    ready_at: float | None = None
    #: False once nobody waits for it any more: its end is no accident then.
    is_wanted: bool = True
    #: Why it was killed, when it was us.
    killed_because: str = ""
    #: Why it could not load, when that may be otherwise the next time.
    load_fault: str = ""
    _is_heard: bool = field(default=True)

    @property
    def lived_seconds(self) -> float:
        """How long it has been ready."""
        return 0.0 if self.ready_at is None else time.monotonic() - self.ready_at

    def stop_hearing(self, selector: selectors.BaseSelector) -> None:
        """Stop listening to it and close its control socket, which tells it to end."""
        if self._is_heard:
            self._is_heard = False
            with contextlib.suppress(KeyError, ValueError):
                selector.unregister(self.control)
            self.control.close()
        if self.host is not None:
            self.host.close()

    def kill(self, because: str = "") -> None:
        """End its process at once, if it has one."""
        self.killed_because = self.killed_because or because
        if self.process_id is not None:
            kill_process(self.process_id)
