"""The packaged program's entry: the command line, or what it and the front start themselves as.

The command line must not import OpenVINO and Pillow, which the nursery and the drawing of plots do
when they are imported; so they part ways before either is.
"""

import os
import sys


def _leave_the_bundle_out_of_children() -> None:
    """Give programs of the system (systemctl) the system's libraries instead of the bundle's."""
    before = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
    os.environ.pop("LD_LIBRARY_PATH", None)
    if before:
        os.environ["LD_LIBRARY_PATH"] = before


_leave_the_bundle_out_of_children()

if len(sys.argv) == 3 and sys.argv[1] == "host-nursery":
    from appliance.host.nursery import main as nursery

    nursery(int(sys.argv[2]))
elif sys.argv[1:] == ["host-import"]:
    from appliance.host.import_child import main as import_model

    import_model()
elif sys.argv[1:] == ["step-plot"]:
    from appliance.host.step_plot import main as draw

    draw()
elif sys.argv[1:2] == ["text-builder"]:
    from appliance.host.text_builder import main as build

    build()
else:
    from appliance.__main__ import main

    main()
