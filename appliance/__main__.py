"""`python -m appliance`, and the command `appliance` where it is installed."""

import sys

from appliance.start import is_gateway

# Before the imports, as they are what this is about.
if is_gateway(sys.argv[1:]):
    from appliance.stream.command import main
else:
    from appliance.cli import main

if __name__ == "__main__":
    main()
