"""The packaged program's entry: the command line, or the nursery when the front starts itself as one.

The command line must not import OpenVINO and Pillow, which the nursery does when it is imported; so
the two part ways before either is.
"""

import sys

if len(sys.argv) == 3 and sys.argv[1] == "host-nursery":
    from appliance.host.nursery import main as nursery

    nursery(int(sys.argv[2]))
else:
    from appliance.cli import main

    main()
