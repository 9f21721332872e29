"""The folders of jobs: `<state>/jobs/<id>/inputs` and one folder for each attempt.

    <id>/inputs/0001, 0002, …      what was sent, until the job can no longer be tried again
    <id>/attempt-2/workspace       what the attempt needs while it runs
    <id>/attempt-2/results         what it leaves; only those of the recorded attempt stay
    <id>/attempt-2/result.json     what it found, until the database has it

Two attempts never share a folder, so one that was given up cannot touch what another records.
"""

import errno
import hashlib
import os
import shutil
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

from appliance.errors import (
    InsufficientStorage,
    InvalidInput,
    NotFound,
    PayloadTooLarge,
    Unavailable,
)
from appliance.store.files import CHUNK_BYTES, sync_directory
from appliance.store.jobs import KeptFile, StoredInput

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_MOST_NAME_CHARACTERS = 255


class SentFile(NamedTuple):
    """One file of a request: what the client calls it and its bytes, read once, in pieces."""

    name: str
    content_type: str
    stream: IO[bytes]


class AttemptFolder(NamedTuple):
    """Where one attempt works and where it leaves what it found."""

    workspace: Path
    results: Path
    document: Path


class JobFiles:
    """The folders of all jobs. Threads: any, each on another job."""

    def __init__(self, root: Path, *, most_files: int, most_file_bytes: int) -> None:
        self.root = root
        self._most_files = most_files
        self._most_file_bytes = most_file_bytes

    def store_inputs(self, job_id: str, files: Iterable[SentFile]) -> tuple[StoredInput, ...]:
        """Given a new job's id and its files, bring them to the disk and return what they are.

        Without a file there is no folder. Raise PayloadTooLarge or InsufficientStorage; then
        nothing is left.
        """
        stored: list[StoredInput] = []
        try:
            for file in files:
                if not stored:
                    self._inputs(job_id).mkdir(mode=0o700, parents=True)
                if len(stored) >= self._most_files:
                    raise PayloadTooLarge(
                        f"The request has more than {self._most_files} files (jobs.files). Send"
                        " several jobs, or a zip."
                    )
                stored.append(self._store(job_id, len(stored) + 1, file))
            if stored:
                for directory in (self._inputs(job_id), self.root / job_id, self.root):
                    sync_directory(directory)
        except OSError as fault:
            self.remove(job_id)
            raise _as_problem(fault) from fault
        except BaseException:
            self.remove(job_id)
            raise
        return tuple(stored)

    def _store(self, job_id: str, number: int, file: SentFile) -> StoredInput:
        relative = f"inputs/{number:04d}"
        digest, size = hashlib.sha256(), 0
        descriptor = os.open(
            self.root / job_id / relative, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600
        )
        with open(descriptor, "wb", buffering=0) as target:
            while piece := file.stream.read(CHUNK_BYTES):
                size += len(piece)
                if size > self._most_file_bytes:
                    raise PayloadTooLarge(
                        f"The file {shown_name(file.name)!r} has more than"
                        f" {self._most_file_bytes:,} bytes (jobs.file_bytes)."
                    )
                digest.update(piece)
                _write_all(target, piece)
            os.fsync(target.fileno())
        return StoredInput(
            name=shown_name(file.name),
            content_type=file.content_type,
            path=relative,
            bytes=size,
            sha256=digest.hexdigest(),
        )

    def input_path(self, job_id: str, stored: StoredInput) -> Path:
        """Given a job and one of its inputs, return where that lies."""
        return self.root / job_id / stored.path

    def begin_attempt(self, job_id: str, attempt: int) -> AttemptFolder:
        """Given a job and the number of an attempt, return its new, empty folders."""
        folder = self._attempt(job_id, attempt)
        shutil.rmtree(folder, ignore_errors=True)
        found = AttemptFolder(folder / "workspace", folder / "results", folder / "result.json")
        for directory in (found.workspace, found.results):
            directory.mkdir(mode=0o700, parents=True)
        return found

    def read_document(self, job_id: str, attempt: int, *, most_bytes: int) -> bytes:
        """Given an attempt that is done, return what it found as JSON.

        Raise PayloadTooLarge, or InvalidInput when that is no JSON.
        """
        path = self._attempt(job_id, attempt) / "result.json"
        with path.open("rb") as file:
            document = file.read(most_bytes + 1)
        if len(document) > most_bytes:
            raise PayloadTooLarge(
                f"The job's result has more than {most_bytes:,} bytes (jobs.result_bytes)."
            )
        try:
            msgspec.json.decode(document, type=msgspec.Raw)
        except msgspec.DecodeError as fault:
            raise InvalidInput(f"The job's result is not JSON: {fault}.") from None
        return document

    def result_directory(self, job_id: str, attempt: int, name: str) -> Path:
        """Given an attempt that is done and the relative name of a folder it made, return that.

        Raise NotFound when there is none or the name leads elsewhere.
        """
        results = self._attempt(job_id, attempt) / "results"
        path = below(results, name)
        if not path.is_dir():
            raise NotFound("The job did not leave the folder that it said holds a version.")
        return path

    def settle_results(
        self, job_id: str, attempt: int, names: Iterable[str], *, most_bytes: int
    ) -> tuple[KeptFile, ...]:
        """Given the names an attempt wants kept, bring those files to the disk; return them.

        Every other file of its results goes. Raise NotFound for a name that is no plain file
        below the results, PayloadTooLarge when they are too large together.
        """
        results = self._attempt(job_id, attempt) / "results"
        kept: list[KeptFile] = []
        for name in dict.fromkeys(names):
            path = kept_path(results, name)
            kept.append(KeptFile(name=name, bytes=path.stat().st_size))
            if sum(file.bytes for file in kept) > most_bytes:
                raise PayloadTooLarge(
                    f"The job's files have more than {most_bytes:,} bytes (jobs.kept_bytes)."
                )
            _sync(path)
        _remove_others(results, {results / file.name for file in kept})
        for directory in (results, results.parent, self.root / job_id, self.root):
            sync_directory(directory)
        return tuple(kept)

    def result_path(self, job_id: str, attempt: int, name: str) -> Path:
        """Given a job, its recorded attempt and a kept file's name, return where that lies.

        Raise NotFound when it is gone or no such name is possible.
        """
        return kept_path(self._attempt(job_id, attempt) / "results", name)

    def end_attempt(self, job_id: str, attempt: int) -> None:
        """Given an attempt of which nothing is kept, remove its folder."""
        shutil.rmtree(self._attempt(job_id, attempt), ignore_errors=True)

    def end_job(self, job_id: str, *, recorded_attempt: int | None = None) -> None:
        """Given a job that will not be tried again, remove all but its recorded results."""
        if recorded_attempt is None:
            self.remove(job_id)
            return
        kept = self._attempt(job_id, recorded_attempt)
        for path in [*(self.root / job_id).glob("*")]:
            if path != kept:
                shutil.rmtree(path, ignore_errors=True)
        shutil.rmtree(kept / "workspace", ignore_errors=True)
        (kept / "result.json").unlink(missing_ok=True)

    def remove(self, job_id: str) -> None:
        """Given a job that is no more, remove its folder."""
        shutil.rmtree(self.root / job_id, ignore_errors=True)

    def sweep(self, known_ids: frozenset[str]) -> int:
        """Given the id of every job, remove the folders of others; return how many there were.

        Only at the start, before any job is sent: a folder comes before its row.
        """
        strangers = [path for path in self.root.glob("*") if path.name not in known_ids]
        for path in strangers:
            shutil.rmtree(path, ignore_errors=True)
        return len(strangers)

    def _inputs(self, job_id: str) -> Path:
        return self.root / job_id / "inputs"

    def _attempt(self, job_id: str, attempt: int) -> Path:
        return self.root / job_id / f"attempt-{attempt}"


def at_least_one(files: Iterable[SentFile]) -> Iterable[SentFile]:
    """Given the files of a request, yield them; raise InvalidInput at the end if none came."""
    is_empty = True
    for file in files:
        is_empty = False
        yield file
    if is_empty:
        raise InvalidInput("The request carries no files.")


def shown_name(name: str) -> str:
    """Given what a client calls a file, return it without control characters, at most 255 long."""
    shown = "".join(
        "\ufffd" if unicodedata.category(each)[0] == "C" else each
        for each in name[:_MOST_NAME_CHARACTERS]
    )
    return shown or "unnamed"


def below(directory: Path, name: str) -> Path:
    """Given a folder and a relative name, return the path; raise NotFound if it leads elsewhere.

    Neither may it lead over a link.
    """
    parts = Path(name).parts
    if "\0" in name or not parts or Path(name).is_absolute() or ".." in parts:
        raise NotFound("There is no such file in this result.")
    path = directory.joinpath(*parts)
    if path.resolve() != directory.resolve().joinpath(*parts):
        raise NotFound("There is no such file in this result.")
    return path


def kept_path(results: Path, name: str) -> Path:
    """Given a folder of results and a relative name, return the plain file there, or NotFound."""
    path = below(results, name)
    if not path.is_file():
        raise NotFound("There is no such file in this result.")
    return path


def _write_all(target: IO[bytes], piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[target.write(rest) :]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_others(results: Path, kept: set[Path]) -> None:
    for path in sorted(results.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path in file.parents for file in kept):
                shutil.rmtree(path, ignore_errors=True)
        elif path not in kept:
            path.unlink(missing_ok=True)


def _as_problem(fault: OSError) -> InsufficientStorage | Unavailable:
    if fault.errno in _NO_SPACE:
        return InsufficientStorage(
            "The disk that holds the files of jobs is full; free space or send fewer files."
        )
    return Unavailable(f"The job's files could not be stored just now ({fault.strerror}).")
