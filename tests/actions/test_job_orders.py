"""Orders: complete, or a plain reason why there can be none."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from appliance.actions.job_orders import specification_of
from appliance.config import Config, Limits
from appliance.errors import NotFound
from appliance.store import jobs
from appliance.store.jobs import StoredJob
from tests.job_parts import Bench, bench, sent
from tests.store.test_job_queue import a_job


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path / "state") as found:
        yield found


def stored(parts: Bench, **more: object) -> StoredJob:
    return jobs.get(parts.database, parts.submit(**more).job.id)  # type: ignore[arg-type]


def test_an_order_names_existing_files_and_new_folders(parts: Bench) -> None:
    job = stored(parts, files=[sent()], params={"model": "colour"})
    order = parts.orders.order(job)
    assert [Path(one.path).read_bytes() for one in order.inputs] == [b"hello"]
    assert Path(order.workspace).is_dir()
    assert list(Path(order.results).iterdir()) == []
    assert list(order.specifications) == ["colour@2"]
    assert order.limits.file_bytes == parts.settings.file_bytes


def test_no_attempt_may_unpack_more_than_its_part_of_the_room_on_the_disk(
    parts: Bench,
) -> None:
    job = stored(parts, files=[sent()])
    share = parts.disk.room_bytes() // parts.settings.runners
    told = parts.orders.order(job).limits.unpacked_bytes
    assert told == min(share, 4 << 30) > 0
    parts.disk._status = msgspec.structs.replace(parts.disk.status(), free_bytes=0)
    assert parts.orders.order(job).limits.unpacked_bytes == 0


def test_what_is_gone_is_named(parts: Bench) -> None:
    job = stored(parts, files=[sent()])
    parts.files.input_path(job.id, job.inputs[0]).write_bytes(b"shorter or longer")
    with pytest.raises(NotFound, match=r"a\.txt"):
        parts.orders.order(job)
    with pytest.raises(NotFound, match="colour@3"):
        parts.orders.order(stored(parts, params={"model": "colour", "version": 3}))
    with pytest.raises(NotFound, match="kind of job 'gone'"):
        parts.orders.order(a_job(kind="gone"))


def test_a_specification_is_of_an_installed_version(tmp_path: Path) -> None:
    told = specification_of(Config(), tmp_path / "models", tmp_path / "cache", threads=3)
    with pytest.raises(NotFound, match="not installed any more"):
        told("colour", 1)
    (tmp_path / "models" / "colour" / "1").mkdir(parents=True)
    (tmp_path / "models" / "colour" / "1" / "manifest.toml").touch()
    assert told("colour", 1).threads == 3


def test_jobs_keep_the_limits_that_predictions_keep(tmp_path: Path) -> None:
    limits = Limits(image_pixels=7, image_formats=("PNG",), tensor_batch=6, texts=5, text_bytes=4)
    (tmp_path / "models" / "colour" / "1").mkdir(parents=True)
    (tmp_path / "models" / "colour" / "1" / "manifest.toml").touch()
    told = specification_of(Config(limits=limits), tmp_path / "models", tmp_path, threads=1)
    found = told("colour", 1)
    assert (found.image_pixels, found.image_formats, found.tensor_batch) == (7, ("PNG",), 6)
    assert (found.texts, found.text_bytes) == (5, 4)
