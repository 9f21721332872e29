"""What the process of an attempt is told: files, parameters, and the models it may load."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from appliance.actions.job_files import JobFiles
from appliance.config import Config, Jobs
from appliance.errors import NotFound
from appliance.host.jobs.contract import MOST_UNPACKED_BYTES, InputLimits, JobInput, JobOrder
from appliance.host.jobs.registry import KINDS, RegisteredKind, kind_named
from appliance.host.specification import HostSpecification
from appliance.store.disk import DiskWatch
from appliance.store.jobs import StoredJob


class JobOrders:
    """Writes orders. Threads: any; it holds no state of its own."""

    def __init__(
        self,
        settings: Jobs,
        *,
        files: JobFiles,
        disk: DiskWatch,
        specification: Callable[[str, int], HostSpecification],
        kinds: Sequence[RegisteredKind] = KINDS,
    ) -> None:
        """`specification` says how to load a model's version, or raises NotFound."""
        self._settings = settings
        self._files = files
        self._disk = disk
        self._specification = specification
        self._kinds = kinds

    def order(self, job: StoredJob) -> JobOrder:
        """Given a job that was just taken, make the attempt's folders and return its order.

        Raise NotFound when its kind, one of its files or one of its models is gone.
        """
        kind = kind_named(job.kind, self._kinds)
        inputs = self._inputs(job)
        specifications = {pin: self._specified(pin) for pin in job.pins}
        folder = self._files.begin_attempt(job.id, job.attempts)
        return JobOrder(
            job_id=job.id,
            implementation=kind.implementation,
            params=job.params,
            inputs=inputs,
            workspace=str(folder.workspace),
            results=str(folder.results),
            document=str(folder.document),
            result_bytes=self._settings.result_bytes,
            specifications=specifications,
            limits=self._limits(),
        )

    def _limits(self) -> InputLimits:
        """Return what the attempt's inputs may hold; every runner may unpack at the same time."""
        room_bytes = self._disk.room_bytes() // self._settings.runners
        return InputLimits(
            members=self._settings.members,
            file_bytes=self._settings.file_bytes,
            unpacked_bytes=min(MOST_UNPACKED_BYTES, room_bytes),
        )

    def _inputs(self, job: StoredJob) -> tuple[JobInput, ...]:
        found = []
        for stored in job.inputs:
            path = self._files.input_path(job.id, stored)
            if not path.is_file() or path.stat().st_size != stored.bytes:
                raise NotFound(
                    f"The file {stored.name!r} that was sent with this job is gone, as after the"
                    " restore of a backup, which holds no files of jobs. Send it again."
                )
            found.append(
                JobInput(name=stored.name, content_type=stored.content_type, path=str(path))
            )
        return tuple(found)

    def _specified(self, pin: str) -> HostSpecification:
        model, _, version = pin.rpartition("@")
        return self._specification(model, int(version))


def specification_of(
    config: Config, models: Path, cache: Path, *, threads: int
) -> Callable[[str, int], HostSpecification]:
    """Given the settings and places, return what says how a job loads a model's version."""

    def specification(model: str, version: int) -> HostSpecification:
        directory = models / model / str(version)
        if not os.path.isfile(directory / "manifest.toml"):
            raise NotFound(f"{model}@{version}, which this job needs, is not installed any more.")
        return HostSpecification(
            directory=str(directory),
            cache_directory=str(cache),
            threads=threads,
            connections=1,
            memory_bytes=config.jobs.memory_bytes,
            image_pixels=config.limits.image_pixels,
            image_formats=config.limits.image_formats,
            tensor_batch=config.limits.tensor_batch,
            texts=config.limits.texts,
            text_bytes=config.limits.text_bytes,
            log_level=config.log.level,
        )

    return specification
