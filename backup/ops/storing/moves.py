"""What a file holds that has come under a new name, without reading it. `docs/design.md`, "Moved"."""

import os
from collections.abc import Callable
from functools import cached_property

from backup.model.errors import Damaged
from backup.model.ids import NO_OBJECT, ObjectId
from backup.ops.storing.frame import Frame
from backup.ops.storing.parent import ParentDirectory, is_directory, open_parent
from backup.ops.storing.unchanged import Comparison, Settings
from backup.snapshots.directory import Directory
from backup.snapshots.tree import (
    EXTRA,
    EXTRA_EXTENT_LISTS,
    EXTRA_EXTENTS,
    EXTRA_HASH,
    Buffer,
    Row,
    encode_extra,
    encode_stat,
    extra_fields,
)
from backup.source.attributes import Xattr, path_of, read_xattrs

Read = Callable[[ObjectId], Buffer]


class Moves:
    """Asked about files that are not as the parent has them under their names.

    `parent` is the tree of the parent's root, when the walk begins. All of its trees are gone through at the
    first file that may have moved.
    """

    def __init__(
        self, settings: Settings, comparison: Comparison, has: Callable[[ObjectId], bool], read_tree: Read
    ) -> None:
        self.parent: ObjectId | None = None
        self._settings = settings
        self._comparison = comparison
        self._has = has
        self._read_tree = read_tree
        self._last: tuple[Frame, ParentDirectory | None] | None = None

    @property
    def possible(self) -> bool:
        """Whether there is anything that a file could have been moved from, or known by."""
        return self.parent is not None or self._settings.believe_seals

    def row(self, frame: Frame, fd: int, name: bytes, position: int, status: os.stat_result) -> Row | None:
        """The row of a regular file in the directory `fd`, where its content is known. Raises OSError."""
        if self._settings.read_all or self._settings.distrust or not status.st_size:
            return None
        return self._in_moved_directory(frame, name, status) or self._sealed(
            frame, fd, name, position, status
        )

    def _in_moved_directory(self, frame: Frame, name: bytes, status: os.stat_result) -> Row | None:
        """By the rule for files that stay in place: moving a directory changes nothing about its files."""
        if self.parent is None or self._comparison.racy(status):
            return None
        if (before := self._before(frame)) is None:
            return None
        position = before.find(name)
        return before.row(position) if self._comparison.same_file(before, position, status) else None

    def _before(self, frame: Frame) -> ParentDirectory | None:
        """The directory as the parent has it at another place."""
        if self._last is None or self._last[0] is not frame:
            self._last = (frame, self._find_before(frame))
        return self._last[1]

    def _find_before(self, frame: Frame) -> ParentDirectory | None:
        if not self._comparison.inodes_last(frame.status.st_dev):
            return None
        tree = self._known.directories.get((frame.volume, frame.status.st_ino))
        if tree is None or (frame.parent is not None and frame.parent.tree == tree):
            return None
        return open_parent(tree, self._read_tree, lambda error: None)

    def _sealed(
        self, frame: Frame, fd: int, name: bytes, position: int, status: os.stat_result
    ) -> Row | None:
        if self._settings.seals is None or not self._settings.believe_seals:
            return None
        # What stays in its place and has changed is read: a ctime that is another says more than a seal.
        if position >= 0 and frame.parent is not None and frame.parent.inode(position) == status.st_ino:
            return None
        digest = self._settings.seals.find(path_of(fd, name), status)
        return None if digest is None else self._content(ObjectId(digest), fd, name, status, frame.volume)

    def _content(
        self, digest: ObjectId, fd: int, name: bytes, status: os.stat_result, volume: int
    ) -> Row | None:
        if self._has(digest):
            extra = encode_extra(b"", read_xattrs(fd, name))
            return Row(name, encode_stat(status), digest, extra, volume, 0)
        if self.parent is None or (place := self._known.contents.get(digest)) is None:
            return None
        page, local = Directory(place[0], self._read_tree).at(place[1])
        if page.record(local)[4] != status.st_size:
            return None
        extra = _with_xattrs(page.extra(local), read_xattrs(fd, name))
        return Row(name, encode_stat(status), NO_OBJECT, extra, volume, 0)

    @cached_property
    def _known(self) -> "_Known":
        assert self.parent is not None
        return _Known(self.parent, self._read_tree)


class _Known:
    """All that the parent has. `directories`: trees by volume and inode number; `contents`: tree and position
    of a file of several chunks, by the hash of all of its bytes.
    """

    def __init__(self, root: ObjectId, read_tree: Read) -> None:
        self.directories: dict[tuple[int, int], ObjectId] = {}
        self.contents: dict[bytes, tuple[ObjectId, int]] = {}
        trees = [root]
        while trees:
            tree = trees.pop()
            try:
                directory = Directory(tree, read_tree, root=tree == root)
                trees += self._take(tree, directory)
            except Damaged:
                continue  # Who compares with it tells; here it costs no more than reading.

    def _take(self, tree: ObjectId, directory: Directory) -> list[ObjectId]:
        below: list[ObjectId] = []
        position = 0
        for page in directory.pages():
            for local in range(len(page)):
                object_id, _, extra, volume, flags = page.ref(local)
                if is_directory(page.stat(local)):
                    self.directories[volume, page.record(local)[9]] = object_id
                    below.append(object_id)
                elif extra and not flags:
                    digest = dict(extra_fields(page.extra(local))).get(EXTRA_HASH)
                    if digest is not None:
                        self.contents[bytes(digest)] = (tree, position)
                position += 1
        return below


def _with_xattrs(extra: Buffer, xattrs: tuple[Xattr, ...]) -> bytes:
    """The extra of a file of several chunks, with other attributes."""
    fields = dict(extra_fields(extra))
    extents = b"".join(
        EXTRA.pack(tag, len(fields[tag])) + fields[tag]
        for tag in (EXTRA_EXTENTS, EXTRA_EXTENT_LISTS)
        if tag in fields
    )
    return encode_extra(b"", xattrs, extents, bytes(fields[EXTRA_HASH]))
