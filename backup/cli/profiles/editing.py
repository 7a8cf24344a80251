"""Writing profiles: whole or not at all, and never one that is wrong in place of one that is right."""

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from backup.model.errors import ImbfsError, UsageError


def write_profile(file: Path, text: str, replace: bool = True) -> None:
    """Raises `UsageError` where there is one that is not to be replaced; OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    target = file.resolve()
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".imbfs-", delete=False) as new:
        try:
            new.write(text.encode())
            new.flush()
            os.fsync(new.fileno())
            if target.exists():
                os.chmod(new.name, target.stat().st_mode & 0o777)
            if replace:
                os.replace(new.name, target)
            else:
                _put(new.name, target)
        except BaseException:
            os.unlink(new.name)
            raise


def _put(new: str, target: Path) -> None:
    try:
        os.link(new, target)
    except FileExistsError:
        raise UsageError(f"{target} exists: `imbfs profile edit` changes it") from None
    os.unlink(new)


def edit(copy: Path) -> None:
    """Opens the user's editor. Raises `ImbfsError` where it fails."""
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        code = subprocess.run([*shlex.split(command), os.fspath(copy)], check=False).returncode
    except (OSError, ValueError) as error:
        raise ImbfsError(f"the editor {command!r} cannot be started ({error}): set EDITOR") from error
    if code:
        raise ImbfsError(f"the editor {command!r} failed with exit code {code}: nothing was changed")
