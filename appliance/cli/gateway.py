"""`appliance stream-gateway`: WebSockets for devices, in a process of its own."""

from pathlib import Path

import click
import msgspec

from appliance import log, systemd
from appliance.config import Config
from appliance.stream.gateway import Gateway

SOCKET_NAME = "front.sock"


@click.command(name="stream-gateway")
@click.pass_context
def stream_gateway(context: click.Context) -> None:
    """Take streams over WebSockets to the running appliance, until SIGTERM.

    It needs neither the models nor the database, only the appliance's Unix socket; it may start
    before the appliance and outlive its restarts.
    """
    config = context.find_object(Config) or Config()
    # Only the appliance writes the file: two processes would rotate it under each other.
    log.configure(msgspec.structs.replace(config.log, file=""), process="gateway")
    gateway = Gateway(config, front_socket=front_socket_path(config), notifier=systemd.Notifier())
    host, port = gateway.address
    click.echo(f"WebSocket gateway on ws://{host}:{port}", err=True)
    gateway.run()


def front_socket_path(config: Config) -> Path:
    """Given the configuration, return where the running appliance listens for the gateway."""
    directory = config.state.runtime_dir or str(Path(config.state.dir) / "run")
    return Path(directory).absolute() / SOCKET_NAME


COMMANDS = (stream_gateway,)
