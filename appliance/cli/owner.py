"""Become the user who owns the state, so that an admin's command leaves no file of root in it."""

import os
import pwd
from pathlib import Path

import click


def become_owner_of(state: Path, *, reads: Path | None = None) -> None:
    """Given the state directory, give up being root for its owner; do nothing for anybody else.

    `reads` is a file the command will read: raise ClickException now if the owner may not, because
    the reason would be hard to see later.
    """
    if os.geteuid() != 0 or not state.exists() or state.stat().st_uid == 0:
        return
    owner, group = state.stat().st_uid, state.stat().st_gid
    os.setgroups([group])
    os.setgid(group)
    os.setuid(owner)
    os.environ["HOME"] = str(state)
    if reads is not None and not os.access(reads, os.R_OK):
        raise click.ClickException(
            f"{reads} cannot be read by {_name(owner)}, who owns {state}. Copy it to the directory"
            " of the backups and make that user its owner."
        )


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
