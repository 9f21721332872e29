import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from appliance.errors import ModelInvalid
from appliance.host.text_tokenizer import TextTokenizer, read_tokenizer
from appliance.library.manifest import Manifest, Tokenizer
from tests.tiny_texts import write_tokenizer

CLS, SEP, UNKNOWN, GOOD, BAD = 2, 3, 1, 4, 5


def manifest(tokenizer: Tokenizer | None) -> Manifest:
    return Manifest(
        manifest_version=1, name="mood", version=1, task="text-classification", tokenizer=tokenizer
    )


def loaded(directory: Path, *, has_special: bool = True) -> TextTokenizer:
    write_tokenizer(directory / "tokenizer.json", has_special=has_special)
    found = read_tokenizer(directory, manifest(Tokenizer(max_tokens=8)))
    assert found is not None
    return found


def test_the_settings_of_the_file_for_length_do_not_count(tmp_path: Path) -> None:
    (found,) = loaded(tmp_path).tokens(["good bad good bad good"], most=16)
    assert list(found.ids) == [CLS, GOOD, BAD, GOOD, BAD, GOOD, SEP]
    assert not found.is_truncated


def test_a_text_is_cut_inside_its_special_tokens(tmp_path: Path) -> None:
    (found,) = loaded(tmp_path).tokens(["good bad good bad good"], most=4)
    assert list(found.ids) == [CLS, GOOD, BAD, SEP]
    assert found.is_truncated
    exact = loaded(tmp_path).tokens(["good bad"], most=4)
    assert exact == [([CLS, GOOD, BAD, SEP], False)]


def test_a_tokenizer_without_special_tokens_cuts_plainly(tmp_path: Path) -> None:
    (found,) = loaded(tmp_path, has_special=False).tokens(["good bad good"], most=2)
    assert list(found.ids) == [GOOD, BAD]


def test_a_megabyte_without_spaces_is_read_only_so_far(tmp_path: Path) -> None:
    (found,) = loaded(tmp_path).tokens(["x" * 1_000_000], most=8)
    assert list(found.ids) == [CLS, UNKNOWN, SEP]
    assert found.is_truncated


def test_threads_may_ask_for_different_lengths_at_once(tmp_path: Path) -> None:
    tokenizer = loaded(tmp_path)
    wrong: list[int] = []

    def ask(most: int) -> None:
        for _ in range(100):
            (found,) = tokenizer.tokens(["good " * 50], most=most)
            if len(found.ids) != most:
                wrong.append(len(found.ids))

    threads = [threading.Thread(target=ask, args=(most,)) for most in (4, 9, 30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_no_tokenizer_in_the_manifest_is_none(tmp_path: Path) -> None:
    assert read_tokenizer(tmp_path, manifest(None)) is None


def test_a_missing_or_broken_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match="is missing"):
        read_tokenizer(tmp_path, manifest(Tokenizer()))
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ModelInvalid, match="cannot be read"):
        read_tokenizer(tmp_path, manifest(Tokenizer()))


def test_the_library_makes_no_threads_of_its_own(tmp_path: Path) -> None:
    loaded(tmp_path)
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"


def test_a_host_without_a_tokenizer_does_not_load_the_library() -> None:
    program = "import sys, appliance.host.hosted_model; print('tokenizers' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=100
    )
    assert found.stdout.strip() == "False", found.stderr
