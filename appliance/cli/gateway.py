"""`appliance stream-gateway` among the other commands; what it does is in `stream/command.py`."""

from appliance.stream.command import stream_gateway

COMMANDS = (stream_gateway,)
