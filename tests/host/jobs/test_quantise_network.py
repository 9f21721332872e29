import builtins
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from appliance.errors import ModelInvalid, NotImplementedHere
from appliance.host.jobs import quantise_network
from appliance.host.openvino_import import ov
from appliance.library.manifest import read_manifest
from tests.tiny_models import write_colour_model


def test_without_nncf_the_problem_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "nncf":
            raise ImportError("no nncf here")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(NotImplementedHere, match=r"requirements/runtime\.txt"):
        quantise_network.require_nncf()


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_pixels_are_prepared_as_the_host_prepares_them(tmp_path: Path, order: str) -> None:
    place = write_colour_model(tmp_path, color_order=order, mean=(1, 2, 3), scale=(2, 4, 8))
    model = ov.Core().read_model(place.directory / "model.xml")
    prepare = quantise_network.Preparation(model, read_manifest(place.directory))
    pixels = np.arange(192, dtype=np.uint8).reshape(1, 8, 8, 3)
    told = prepare({"image": pixels})["image"]
    ordered = pixels if order == "RGB" else pixels[..., ::-1]
    expected = (ordered.astype(np.float32) - [1, 2, 3]) / [2, 4, 8]
    assert told.shape == (1, 3, 8, 8)
    np.testing.assert_allclose(told, expected.transpose(0, 3, 1, 2), atol=1e-5)


def test_what_is_no_picture_is_left_as_it_is(tmp_path: Path) -> None:
    place = write_colour_model(tmp_path)
    manifest = read_manifest(place.directory)
    model = ov.Core().read_model(place.directory / "model.xml")
    plain = msgspec.structs.replace(
        manifest, inputs=(msgspec.structs.replace(manifest.inputs[0], layout=""),)
    )
    ids = np.array([[1, 2]], np.int64)
    assert quantise_network.Preparation(model, plain)({"ids": ids})["ids"] is ids


def test_scipy_s_stand_in_solves_what_nncf_could_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("scipy", "scipy.linalg"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(quantise_network.importlib.util, "find_spec", lambda name: None)
    quantise_network._stand_in_for_scipy()
    try:
        solution = sys.modules["scipy.linalg"].lstsq(
            np.array([[2.0, 0.0], [0.0, 4.0]]), np.array([2.0, 4.0]), lapack_driver="gelsy"
        )[0]
        np.testing.assert_allclose(solution, [1.0, 1.0])
    finally:
        for name in ("scipy", "scipy.linalg"):
            sys.modules.pop(name, None)


def test_a_fault_of_nncf_is_a_problem_of_the_model() -> None:
    def work() -> ov.Model:
        raise RuntimeError("Check 'x' failed\nthe layer cannot be quantised")

    with pytest.raises(ModelInvalid, match="the layer cannot be quantised"):
        quantise_network._tried(work)
