"""`appliance serve`: run the appliance in the foreground."""

import faulthandler
import gc
import logging
import os

import click

from appliance import log, systemd
from appliance.clock import SystemClock
from appliance.config_file import as_toml
from appliance.core import assemble
from appliance.start import read_loaded
from appliance.web.serve import Serving

_log = logging.getLogger(__name__)


@click.command()
@click.option("--config", "config_path", metavar="FILE", help="Configuration file.")
@click.pass_context
def serve(context: click.Context, config_path: str | None) -> None:
    """Serve predictions over HTTP until SIGTERM."""
    os.umask(0o077)  # whatever is written may hold secrets; nobody else is to read it
    faulthandler.enable()  # the watchdog ends a hung process by SIGABRT: then the log shows where
    location = config_path or context.meta.get("config_path")
    loaded = read_loaded(location)
    config = loaded.config
    journal = log.configure(config.log)
    notifier = systemd.Notifier()
    with notifier.patience("Opening the database"):
        parts = assemble(
            config,
            SystemClock(),
            config_text=as_toml(loaded),
            read_again=lambda: read_loaded(location),
        )
    try:
        service = Serving(parts, journal, notifier)
        host, port = service.address
        click.echo(
            f"Inference appliance on http://{host}:{port}  ·  documentation at /docs\n"
            f"The admin key is in {parts.admin_key_file}",
            err=True,
        )
        gc.freeze()
        service.run()
    finally:
        parts.stop()
        _log.info("stopped")


COMMANDS = (serve,)
