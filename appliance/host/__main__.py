"""`python -m appliance.host DESCRIPTOR`: the nursery, as started by the front."""

import sys

from appliance.host.nursery import main

main(int(sys.argv[1]))
