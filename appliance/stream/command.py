"""`appliance stream-gateway`: WebSockets for devices, in a process of its own.

The command stands here and not beside the others because a process that begins with it imports
nothing of the command line; `appliance.cli` lists it as well, for its help and its manual page.
"""

from pathlib import Path

import click
import msgspec

from appliance import log, systemd
from appliance.config import Config
from appliance.start import GATEWAY_COMMAND, ended_by_faults, read_config
from appliance.stream.gateway import Gateway

SOCKET_NAME = "front.sock"


@click.command(name=GATEWAY_COMMAND)
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


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False),
    envvar="APPLIANCE_CONFIG",
    help="Configuration file (TOML).",
)
@click.pass_context
def program(context: click.Context, config_path: str | None) -> None:
    """Run the gateway as the command line would."""
    context.obj = read_config(config_path)


program.add_command(stream_gateway)


def main() -> None:
    """Run the gateway; end with the exit status of the fault that stopped it."""
    ended_by_faults(lambda: program(prog_name="appliance"))
