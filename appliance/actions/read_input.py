"""Read one kept input again: who asked for it may, and an admin, which leaves a trace."""

from contextlib import ExitStack
from typing import IO, NamedTuple

from appliance.actions import audit, find_predictions
from appliance.actions.callers import Caller, Role, require_role
from appliance.actions.input_types import HEAD_BYTES, suffix_of, type_of_input
from appliance.clock import Clock
from appliance.errors import NotFound
from appliance.store.database import Database
from appliance.store.kept_inputs import KeptInputs


class FoundInput(NamedTuple):
    """An input to be sent; whoever takes it closes `stream`."""

    stream: IO[bytes]
    bytes: int
    content_type: str
    name: str


class InputReading:
    """Finds kept inputs. Threads: any; it holds no state."""

    def __init__(self, database: Database, clock: Clock, files: KeptInputs) -> None:
        self._database = database
        self._clock = clock
        self._files = files

    def read(self, caller: Caller, prediction_id: str) -> FoundInput:
        """Given a prediction, return its input as it came.

        Raise NotFound when the caller may not see the prediction or no input is kept, Forbidden
        for an operator who looks at somebody else's.
        """
        row = find_predictions.one(self._database, prediction_id, caller)
        is_own = caller.key_id is not None and caller.key_id == row.key_id
        if not is_own:
            require_role(caller, Role.ADMIN)
        with ExitStack() as opened:
            stream = opened.enter_context(self._opened(row.model, row.id, row.input_bytes))
            media = type_of_input(row.content_type, stream.read(HEAD_BYTES))
            stream.seek(0)
            if not is_own:
                audit.record(
                    self._database,
                    caller,
                    action="prediction.input",
                    subject=row.id,
                    detail={"model": row.model, "sent_by": row.key_name},
                    clock=self._clock,
                )
            opened.pop_all()  # from here on it is the caller's to close
        return FoundInput(stream, row.input_bytes, media, row.id + suffix_of(media))

    def _opened(self, model: str, prediction_id: str, size: int) -> IO[bytes]:
        missing = NotFound(
            "The input of this prediction is not kept. Which are is said in [history]: keep_inputs"
            " and its kin."
        )
        try:
            stream = self._files.path(model, prediction_id).open("rb")
        except OSError:
            raise missing from None
        if stream.seek(0, 2) != size:  # a power cut left it unfinished
            stream.close()
            raise missing
        stream.seek(0)
        return stream
