"""The mount options `uid`, `gid` and `umask`: a view with other owners and permissions."""

import stat
from collections.abc import Iterable, Iterator

from fusefs.mountpoint import MountError
from fusefs.view import Attributes, Content, Statistics, Value, View

#: The base of each option's number.
_BASES = {"uid": 10, "gid": 10, "umask": 8}

_ACL = b"system.posix_acl_"


def presented(view: View, options: Iterable[str]) -> tuple[View, list[str]]:
    """`view` as the options `uid`, `gid` and `umask` want it, and the options that remain.

    `umask` takes its bits (octal) from 0777, for directories and files alike. Raises MountError
    for a value that is not such a number.
    """
    wanted: dict[str, int] = {}
    rest = []
    for option in options:
        name, _, value = option.partition("=")
        if name in _BASES:
            wanted[name] = _number(option, value, _BASES[name])
        else:
            rest.append(option)
    return (Presented(view, **wanted) if wanted else view), rest


def _number(option: str, value: str, base: int) -> int:
    try:
        number = int(value, base)
    except ValueError:
        number = -1
    if not 0 <= number < (1 << 32 if base == 10 else 0o1000):
        raise MountError(f"not a number that can be: {option}")
    return number


class Presented:
    """A View that shows another one with these rights; None leaves an inode its own."""

    def __init__(
        self, view: View, uid: int | None = None, gid: int | None = None, umask: int | None = None
    ) -> None:
        self._view = view
        self._uid = uid
        self._gid = gid
        self._permissions = None if umask is None else 0o777 & ~umask

    def _changed(self, attributes: Attributes) -> Attributes:
        mode = attributes.mode
        return attributes._replace(
            uid=attributes.uid if self._uid is None else self._uid,
            gid=attributes.gid if self._gid is None else self._gid,
            mode=mode if self._permissions is None else stat.S_IFMT(mode) | self._permissions,
        )

    def attributes(self, ino: int) -> Attributes:
        return self._changed(self._view.attributes(ino))

    def lookup(self, parent: int, name: bytes) -> Attributes:
        return self._changed(self._view.lookup(parent, name))

    def entries(self, ino: int, start: int) -> Iterator[tuple[bytes, Attributes, int]]:
        for name, attributes, following in self._view.entries(ino, start):
            yield name, self._changed(attributes), following

    def xattr_names(self, ino: int) -> list[bytes]:
        """Without ACLs when the permissions are replaced: the kernel would enforce them all the same."""
        names = self._view.xattr_names(ino)
        if self._permissions is None:
            return names
        return [name for name in names if not name.startswith(_ACL)]

    def xattr(self, ino: int, name: bytes) -> Value:
        if self._permissions is not None and name.startswith(_ACL):
            return None
        return self._view.xattr(ino, name)

    # The rest is the other view's.

    def timeout(self, ino: int) -> float:
        return self._view.timeout(ino)

    def parent(self, ino: int) -> int:
        return self._view.parent(ino)

    def target(self, ino: int) -> bytes:
        return self._view.target(ino)

    def open(self, ino: int) -> Content:
        return self._view.open(ino)

    def statistics(self) -> Statistics:
        return self._view.statistics()
