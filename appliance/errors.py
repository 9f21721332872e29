"""Every way in which the appliance says no, in one tree, so that a fault looks the same on HTTP,
in a dead job and in the terminal.

    Problem
     ├─ MalformedRequest        400   the bytes are not what the protocol says
     ├─ Unauthenticated         401   no key, or one that is not valid
     ├─ Forbidden               403   a valid key that may not do this
     ├─ NotFound                404   nothing there, or not yours
     ├─ MethodNotAllowed        405
     ├─ NotAcceptable           406   no answer in the media type asked for
     ├─ RequestTimeout          408   the request arrived too slowly
     ├─ Conflict                409   the state of the thing forbids it now
     ├─ LengthRequired          411   a body without a declared length
     ├─ PayloadTooLarge         413   more bytes, pixels or items than the limit
     ├─ UnsupportedMedia        415   a kind of content that is not accepted here
     ├─ MisdirectedRequest      421   a Host this appliance does not answer for
     ├─ InvalidInput            422   well-formed, but the content is wrong
     ├─ RateLimited             429   this caller sends too much
     ├─ HeadersTooLarge         431
     ├─ Internal                500   our own fault: always a bug
     ├─ NotImplementedHere      501
     ├─ Unavailable             503   try again later
     │   ├─ Overloaded                the waiting line is full
     │   ├─ ModelUnavailable          no host serves this model right now
     │   ├─ HostDied                  the host process ended while it worked on this call
     │   ├─ JobDied                   the process of a job ended while it worked
     │   ├─ DatabaseUnavailable       the record cannot be written now
     │   └─ ShuttingDown
     ├─ DeadlineExceeded        504   the model took longer than its limit
     ├─ InsufficientStorage     507   the disk is too full to accept this
     └─ Fault                         not a reply to a client: start-up and command line
         ├─ ConfigInvalid             exit status 78
         ├─ StateUnusable             the state directory or database cannot be used
         │   ├─ SchemaTooNew          the database was written by a newer release; exit status 78
         │   └─ MigrationFailed       the schema could not be changed; exit status 78
         ├─ ModelInvalid        422   a model's files are wrong
         └─ BackupInvalid       422   a backup fails its checks
"""

from typing import Any, ClassVar

import msgspec


class FieldError(msgspec.Struct, frozen=True, omit_defaults=True):
    """One fault inside a request; `pointer` is an RFC 6901 JSON pointer to the place."""

    detail: str
    pointer: str = ""


class ProblemDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """The wire form of a problem: RFC 9457 `application/problem+json`."""

    type: str
    title: str
    status: int
    detail: str = ""
    request_id: str = ""
    errors: tuple[FieldError, ...] = ()


class Problem(Exception):
    """A fault as told to a client: what happened (`detail`) in words that say what to do next."""

    slug: ClassVar[str] = "internal"
    title: ClassVar[str] = "The appliance failed"
    status: ClassVar[int] = 500
    #: Told to clients in `Retry-After` when set, in seconds.
    retry_after_seconds: float | None = None

    def __init__(
        self,
        detail: str,
        *,
        pointer: str | None = None,
        errors: tuple[FieldError, ...] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        if pointer is not None and not errors:
            errors = (FieldError(detail=detail, pointer=pointer),)
        self.errors = errors
        if retry_after_seconds is not None:
            self.retry_after_seconds = retry_after_seconds

    def document(self, request_id: str = "") -> ProblemDocument:
        """Given the request's id, return the wire form of this problem."""
        return ProblemDocument(
            type=f"/problems/{self.slug}",
            title=self.title,
            status=self.status,
            detail=self.detail,
            request_id=request_id,
            errors=self.errors,
        )

    def encoded(self) -> dict[str, Any]:
        """Return a plain mapping that `decoded` turns back into this problem, for children."""
        return {
            "slug": self.slug,
            "detail": self.detail,
            "errors": [[error.detail, error.pointer] for error in self.errors],
            "retry_after_seconds": self.retry_after_seconds,
        }


class MalformedRequest(Problem):
    slug, title, status = "malformed-request", "The request is malformed", 400


class Unauthenticated(Problem):
    slug, title, status = "unauthenticated", "A valid API key is needed", 401


class Forbidden(Problem):
    slug, title, status = "forbidden", "This key may not do that", 403


class NotFound(Problem):
    slug, title, status = "not-found", "There is nothing here", 404


class MethodNotAllowed(Problem):
    slug, title, status = "method-not-allowed", "This method is not allowed here", 405


class NotAcceptable(Problem):
    slug, title, status = "not-acceptable", "No acceptable form of the answer", 406


class RequestTimeout(Problem):
    slug, title, status = "request-timeout", "The request arrived too slowly", 408


class Conflict(Problem):
    slug, title, status = "conflict", "The current state forbids this", 409


class LengthRequired(Problem):
    slug, title, status = "length-required", "The length of the body must be declared", 411


class PayloadTooLarge(Problem):
    slug, title, status = "payload-too-large", "The content is larger than the limit", 413


class UnsupportedMedia(Problem):
    slug, title, status = "unsupported-media", "This kind of content is not accepted", 415


class MisdirectedRequest(Problem):
    slug, title, status = "misdirected-request", "This host name is not served here", 421


class InvalidInput(Problem):
    slug, title, status = "invalid-input", "The content is not valid", 422


class RateLimited(Problem):
    slug, title, status = "rate-limited", "Too many requests", 429
    retry_after_seconds = 1.0


class HeadersTooLarge(Problem):
    slug, title, status = "headers-too-large", "The request headers are too large", 431


class Internal(Problem):
    pass


class NotImplementedHere(Problem):
    slug, title, status = "not-implemented", "The appliance does not offer this", 501


class Unavailable(Problem):
    slug, title, status = "unavailable", "Not available right now", 503
    retry_after_seconds = 1.0


class Overloaded(Unavailable):
    slug, title = "overloaded", "The waiting line is full"


class ModelUnavailable(Unavailable):
    slug, title = "model-unavailable", "This model is not being served right now"


class HostDied(Unavailable):
    slug, title = "host-died", "The model's process ended while it worked on this"


class JobDied(Unavailable):
    slug, title = "job-died", "The job's process ended while it worked"


class DatabaseUnavailable(Unavailable):
    slug, title = "database-unavailable", "The record cannot be written right now"


class ShuttingDown(Unavailable):
    slug, title = "shutting-down", "The appliance is stopping"


class DeadlineExceeded(Problem):
    slug, title, status = "deadline-exceeded", "The model took longer than its limit", 504


class InsufficientStorage(Problem):
    slug, title, status = "insufficient-storage", "The disk is too full to accept this", 507


class Fault(Problem):
    """A fault told to whoever starts or maintains the appliance."""

    #: Exit status of the command line, after sysexits.h.
    exit_status: ClassVar[int] = 1


class ConfigInvalid(Fault):
    slug, title = "config-invalid", "The configuration is not valid"
    exit_status = 78  # EX_CONFIG: systemd must not restart on it


class StateUnusable(Fault):
    slug, title = "state-unusable", "The state directory cannot be used"
    exit_status = 75  # EX_TEMPFAIL


class SchemaTooNew(StateUnusable):
    slug, title = "schema-too-new", "The database was written by a newer release"
    exit_status = 78  # restarting cannot help


class MigrationFailed(StateUnusable):
    slug, title = "migration-failed", "The database could not be upgraded"
    exit_status = 78  # the same step would fail again, after one more copy of the database


class ModelInvalid(Fault):
    slug, title, status = "model-invalid", "The model's files are not valid", 422


class BackupInvalid(Fault):
    slug, title, status = "backup-invalid", "The backup is not valid", 422


def all_problems() -> dict[str, type[Problem]]:
    """Return every class of the tree by its slug, in the order of declaration."""
    found: dict[str, type[Problem]] = {}
    waiting: list[type[Problem]] = [Problem]
    while waiting:
        kind = waiting.pop(0)
        found.setdefault(kind.slug, Internal if kind is Problem else kind)
        waiting.extend(kind.__subclasses__())
    return found


def decoded(document: dict[str, Any]) -> Problem:
    """Given the mapping of `Problem.encoded`, return the same problem."""
    kind = all_problems().get(str(document.get("slug")), Internal)
    errors = tuple(
        FieldError(detail=str(detail), pointer=str(pointer))
        for detail, pointer in document.get("errors", ())
    )
    return kind(
        str(document.get("detail", "")),
        errors=errors,
        retry_after_seconds=document.get("retry_after_seconds"),
    )
