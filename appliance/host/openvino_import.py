"""OpenVINO, imported without what it does besides when it is imported as it comes.

Its converter, `openvino.tools.ovc`, is of no use here, and on import it reports the use of
OpenVINO to Google Analytics from a thread of its own: a private appliance must not call anywhere,
and the nursery must have one thread only, because it forks. Without it the import is also a third
faster and 15 MB smaller (53 → 38 MB). Whatever needs OpenVINO takes it from here.
"""

import sys

# None in sys.modules makes an import raise ImportError, which openvino/__init__.py expects.
for _unwanted in ("openvino_telemetry", "openvino.tools.ovc"):
    sys.modules.setdefault(_unwanted, None)  # type: ignore[arg-type]

import openvino as ov  # noqa: E402
from openvino.passes import ConstantFolding, Manager  # noqa: E402
from openvino.preprocess import ColorFormat, PrePostProcessor  # noqa: E402

__all__ = ["ColorFormat", "ConstantFolding", "Manager", "PrePostProcessor", "ov"]
