"""Versions on trial: who is sent to which, what the shadow is asked, and how they compare."""

import time
from collections.abc import Callable
from typing import Any

from appliance.engine.comparison import Comparison, ComparisonReport, Said
from appliance.engine.fleet import Fleet
from appliance.engine.served import READY, Served
from appliance.engine.shadow import Copy, ShadowCalls
from appliance.engine.traffic import Split, Traffic

Ask = Callable[[Served, dict[str, Any], bytes], tuple[dict[str, Any], bytearray]]
_NONE = Traffic()
_COPIED = ("predict", "infer")


class Trials:
    """The traffic of every model that has more than one version at work.

    Threads: any may read and call; `set` and `clear` are called by one change of a model at a
    time. Both mappings are empty unless an admin asked for a trial, which is all that the way of
    an ordinary request looks at.
    """

    def __init__(self, fleet: Fleet, ask: Ask) -> None:
        self._fleet = fleet
        self._shadows = ShadowCalls(ask)
        self._traffic: dict[str, Traffic] = {}
        self.splits: dict[str, Split] = {}
        self.observed: dict[str, Comparison] = {}

    def set(self, model: str, traffic: Traffic) -> None:
        """Given a model and how its requests are spread, do so from now on, and compare anew."""
        if traffic == _NONE:
            self.clear(model)
            return
        self._fleet.want(model, traffic.versions())
        self._traffic[model] = traffic
        self.observed[model] = Comparison()
        if traffic.traffic:
            self.splits[model] = Split(model, traffic.traffic)
        else:
            self.splits.pop(model, None)

    def clear(self, model: str) -> None:
        """Given a model, let its active version alone answer everybody."""
        self.splits.pop(model, None)
        self.observed.pop(model, None)
        self._traffic.pop(model, None)
        self._fleet.want(model, ())

    def stop(self) -> None:
        """Send no more copies."""
        self._shadows.stop()

    def traffic(self, model: str) -> Traffic:
        """Given a model, return how its requests are spread."""
        return self._traffic.get(model, _NONE)

    def chosen(self, model: str, sender: str) -> Served | None:
        """Given a model and a sender, return the version its split says, if that is ready.

        None leaves the answer to the active version: a trial must cost nobody an answer.
        """
        split = self.splits.get(model)
        if split is None or not sender:
            return None
        served = self._fleet.by_version.get((model, split.version_for(sender)))
        return served if served is not None and served.state == READY else None

    def prepared(self, model: str, header: dict[str, Any]) -> dict[str, Any]:
        """Given a call for an observed model, return it as its host has to be asked.

        Tensors say nothing that could be compared, unless the host is asked what they mean.
        """
        if header.get("method") != "infer" or self.traffic(model).shadow is None:
            return header
        return {**header, "compare": True}

    def answered(
        self,
        served: Served,
        started: float,
        header: dict[str, Any],
        body: bytes | memoryview,
        reply: dict[str, Any],
        answer: bytearray,
    ) -> None:
        """Given an answered call, count it if its model is observed, and copy it to the shadow."""
        model = served.place.model
        comparison = self.observed.get(model)
        if comparison is None:
            return
        comparison.answered(served.place.version, time.monotonic() - started, is_ok=True)
        shadow = self._shadow_for(served, header)
        if shadow is None:
            return
        # Who waits in line comes first, and so does memory.
        if served.admission.waiting or not self._shadows.has_room(len(body)):
            comparison.dropped()
            return
        said = Said.of(reply, reply.get("result", answer))
        asked = {name: value for name, value in header.items() if name != "draw"}
        self._shadows.offer(Copy(shadow, asked, bytes(body), said, comparison))

    def failed(self, served: Served, seconds: float) -> None:
        """Given a failed call, count it if its model is observed."""
        comparison = self.observed.get(served.place.model)
        if comparison is not None:
            comparison.answered(served.place.version, seconds, is_ok=False)

    def report(self, model: str) -> ComparisonReport:
        """Given a model, return how its versions compare since its traffic was set."""
        active = self._fleet.active.get(model)
        number = None if active is None or active.is_retired else active.place.version
        traffic, comparison = self.traffic(model), self.observed.get(model)
        roles = {int(version): "split" for version in traffic.traffic}
        if traffic.shadow is not None:
            roles[int(traffic.shadow)] = "shadow"
        if number is not None:
            roles[number] = "active"
        has_agreement = comparison is not None and traffic.shadow is not None
        return ComparisonReport(
            model=model,
            active_version=number,
            traffic=dict(traffic.traffic),
            shadow=traffic.shadow,
            versions=comparison.figures(roles) if comparison is not None else (),
            agreement=comparison.agreement() if comparison and has_agreement else None,
        )

    def _shadow_for(self, served: Served, header: dict[str, Any]) -> Served | None:
        """Return the version to copy a call to: what the active version answered whole.

        Turns of streams are not: what the shadow remembers would be none of the stream's.
        """
        model = served.place.model
        shadow = self._traffic.get(model, _NONE).shadow
        is_whole = header.get("method") in _COPIED and not header.get("keep")
        if shadow is None or not is_whole or self._fleet.active.get(model) is not served:
            return None
        found = self._fleet.by_version.get((model, int(shadow)))
        return found if found is not None and found.state == READY else None
