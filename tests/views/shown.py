"""A view as a process would see it: by path."""

import json
import os
import stat
from pathlib import Path
from typing import Any

from backup.model.inode import Attributes
from backup.views.inodes import ROOT, InodeView
from tests.support.imbfs import name

_PART = 100_000


class Shown:
    """Looks things up in a view by path. Paths are relative to its root; "" is the root."""

    def __init__(self, view: InodeView) -> None:
        self.view = view

    def stat(self, path: str | bytes = b"") -> Attributes:
        found = self.view.attributes(ROOT)
        for part in filter(None, os.fsencode(path).split(b"/")):
            found = self.view.lookup(found.ino, part)
        return found

    def ino(self, path: str | bytes = b"") -> int:
        return self.stat(path).ino

    def exists(self, path: str | bytes) -> bool:
        try:
            self.stat(path)
        except FileNotFoundError:
            return False
        return True

    def listing(self, path: str | bytes = b"") -> dict[bytes, Attributes]:
        """Name and attributes of each entry, as one listing gives them."""
        found: dict[bytes, Attributes] = {}
        for entry, attributes, _ in self.view.entries(self.ino(path), 0):
            assert entry not in found, f"{entry!r} is listed twice"
            found[entry] = attributes
        return found

    def ls(self, path: str | bytes = b"") -> list[str]:
        return sorted(os.fsdecode(entry) for entry in self.listing(path))

    def data(self, path: str | bytes) -> bytes:
        return self.read(self.ino(path))

    def read(self, ino: int) -> bytes:
        """All bytes of a file, in parts as the kernel asks for them."""
        content = self.view.open(ino)
        parts: list[bytes] = []
        while part := content.read(_PART * len(parts), _PART):
            parts.append(bytes(part))
        return b"".join(parts)

    def target(self, path: str | bytes) -> str:
        return os.fsdecode(self.view.target(self.ino(path)))

    def xattr(self, path: str | bytes, key: str) -> bytes | None:
        value = self.view.xattr(self.ino(path), key.encode())
        return value() if callable(value) else value

    def walk(self, path: str | bytes = b"") -> dict[str, Attributes]:
        """Everything below `path`, by path relative to it."""
        return {os.fsdecode(key): value for key, value in self._walk(self.ino(path), b"")}

    def _walk(self, ino: int, above: bytes) -> list[tuple[bytes, Attributes]]:
        found = []
        for entry, attributes, _ in self.view.entries(ino, 0):
            here = above + b"/" + entry if above else entry
            found.append((here, attributes))
            if stat.S_ISDIR(attributes.mode):
                found += self._walk(attributes.ino, here)
        return found

    def files(self, path: str | bytes = b"") -> dict[str, bytes]:
        """The content of all regular files below `path`."""
        walked = self.walk(path).items()
        return {where: self.read(found.ino) for where, found in walked if stat.S_ISREG(found.mode)}

    def copy_over(self, path: str | bytes, target: Path) -> None:
        """What `cp -a PATH/. TARGET` does as root, but for hard links."""
        self._copy_directory(self.ino(path), os.fsencode(target))

    def _copy_directory(self, ino: int, target: bytes) -> None:
        for entry, attributes, _ in self.view.entries(ino, 0):
            self._copy(attributes, os.path.join(target, entry))
        self._copy_attributes(ino, target)

    def _copy(self, attributes: Attributes, target: bytes) -> None:
        if stat.S_ISDIR(attributes.mode):
            if not os.path.isdir(target) or os.path.islink(target):
                os.mkdir(target)
            self._copy_directory(attributes.ino, target)
            return
        if stat.S_ISLNK(attributes.mode):
            if os.path.lexists(target):
                os.unlink(target)
            os.symlink(self.view.target(attributes.ino), target)
        else:
            with open(target, "wb") as file:
                file.write(self.read(attributes.ino))
        self._copy_attributes(attributes.ino, target)

    def _copy_attributes(self, ino: int, target: bytes) -> None:
        attributes = self.view.attributes(ino)
        os.chown(target, attributes.uid, attributes.gid, follow_symlinks=False)
        if not stat.S_ISLNK(attributes.mode):
            os.chmod(target, stat.S_IMODE(attributes.mode))
        os.utime(target, ns=(attributes.mtime_ns, attributes.mtime_ns), follow_symlinks=False)

    def changes(self, path: str | bytes = b"changes.jsonl") -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.data(path).splitlines()]

    def summary(self, path: str | bytes = b"changes.jsonl") -> dict[str, str]:
        """Of each path, its change; of what was renamed, `renamed FROM`."""
        found: dict[str, str] = {}
        for line in self.changes(path):
            where = os.fsdecode(name(line["path"]))
            assert where not in found, f"{where!r} has two lines"
            origin = line.get("from")
            found[where] = line["change"] + ("" if origin is None else " " + os.fsdecode(name(origin)))
        return found
