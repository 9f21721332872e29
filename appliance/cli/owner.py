"""Become the user who owns the state, so that an admin's command leaves no file of root in it."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from appliance.store.restore import STAGING_PREFIX


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


@contextmanager
def readable_by_owner_of(state: Path, file: Path) -> Iterator[Path]:
    """Given the state directory and a file that root can read, yield a path its owner can read.

    That is the file itself, or for the block a copy in the state directory: a backup that was
    brought from another machine mostly lies in somebody's home. For anybody but root it is always
    the file itself.
    """
    if os.geteuid() != 0 or not state.exists() or _can_read(state.stat().st_uid, file):
        yield file
        return
    owner = state.stat()
    # A start removes leftovers of this name, should this process never get to it.
    place = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=state))
    try:
        copy = place / file.name
        shutil.copyfile(file, copy)
        for path in (place, copy):
            os.chown(path, owner.st_uid, owner.st_gid)
        yield copy
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _can_read(user: int, file: Path) -> bool:
    """Ask as the user: the way to the file counts as well as its own mode."""
    if user == 0:
        return True
    try:
        group = pwd.getpwuid(user).pw_gid
    except KeyError:
        group = user
    asked = subprocess.run(
        ["test", "-r", str(file)], user=user, group=group, extra_groups=[group], check=False
    )
    return asked.returncode == 0


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
