"""Directories filled with their new plain files, read from the trees in place; without an object for each."""

import os
import stat
from collections.abc import Callable, Iterator

from backup.model.entry import FLAG_NO_CONTENT, Entry
from backup.model.errors import Damaged
from backup.model.ids import NO_OBJECT, ObjectId
from backup.ops.restoring.batch import Batch, Folder, data_of
from backup.ops.restoring.crew import Crew
from backup.ops.restoring.items import restore_item
from backup.ops.restoring.job import ITEM_ERRORS, Job, privileged
from backup.ops.restoring.names import Place
from backup.ops.restoring.plain import Chunks
from backup.snapshots.directory import MAX_SIZE, Directory, decode_entry
from backup.snapshots.tree import NS, REF, STAT, Page
from backup.source.attributes import Xattr

#: A batch ends with so many files, directories (each is a descriptor), or bytes.
_FILES, _DIRECTORIES, _BYTES = 512, 16, 4 << 20
#: Later times are not kept by all file systems: they are looked at again when set.
_LATEST = 1 << 31
#: Attributes that writing to a file takes away.
_AFTERWARDS = b"security."
_DEFAULT_ACL = "system.posix_acl_default"


class Filling:
    """For one restore."""

    def __init__(self, job: Job, crew: Crew) -> None:
        self._job = job
        self._repository = crew.repository
        self._crew = crew
        self._batch = Batch()
        self._exclude = job.options.exclude
        #: None: this user may give files to anyone.
        self._user = None if privileged() else os.geteuid()

    def directory(self, tree: ObjectId) -> Directory:
        return self._repository.directory(tree)

    def fill(
        self, fd: int, path: bytes, directory: Directory, there: set[bytes], names: set[bytes] | None
    ) -> tuple[Folder | None, Iterator[Entry]]:
        """Writes the plain files that are not `there` into the directory `fd`, sooner or later; and all its
        other entries, and those that are not asked for.

        Those come with the first `next`; `Damaged` is raised after them where part of the tree is not read.
        `names` gets the names of all.
        """
        if _hands_down(fd):
            return None, directory.entries()
        folder = Folder(os.dup(fd), path, there)
        return folder, self._others(folder, directory, names)

    def _others(self, folder: Folder, directory: Directory, names: set[bytes] | None) -> Iterator[Entry]:
        others: list[tuple[int, list[int]]] = []
        damage: Damaged | None = None
        folder.awaited += 1
        try:
            for number in range(len(directory.page_ids)):
                page = directory.page(number)
                others.append((number, self._take(folder, page)))
                if names is not None:
                    names.update(page.names)
        except Damaged as error:
            damage = error
        self._settle(folder, 1)
        for number, positions in others:
            page = directory.page(number)
            yield from (self._entry(page, position) for position in positions)
        if damage is not None:
            raise damage

    def _entry(self, page: Page, position: int) -> Entry:
        try:
            return decode_entry(page, position, self._repository.tree)
        except Damaged:
            bare = decode_entry(page, position, None)
            return bare._replace(flags=bare.flags | FLAG_NO_CONTENT)

    def _take(self, folder: Folder, page: Page) -> list[int]:
        """Takes the page's plain files into batches; the positions of all others."""
        others = []
        owners: dict[tuple[int, int], tuple[int, int]] = {}
        users, groups = page.owner_names
        rows = zip(page.names, STAT.iter_unpack(page.stats), REF.iter_unpack(page.refs), strict=True)
        for position, (name, record, (chunk, _, extra, _, flags)) in enumerate(rows):
            mode, uid, gid, nlink, size, m_s, _, m_ns, c_ns, _, _ = record
            if (
                stat.S_IFMT(mode) != stat.S_IFREG
                or nlink != 1
                or flags & FLAG_NO_CONTENT
                or not 0 <= m_s < _LATEST
                or m_ns >= NS
                or c_ns >= NS
                or size > MAX_SIZE
                or name in folder.there
                or (self._exclude is not None and self._exclude(folder.inner(name), False))
                or (chunks := self._chunks(page, position, size, chunk, extra)) is None
            ):
                others.append(position)
                continue
            owner = owners.get((uid, gid))
            if owner is None:
                owner = self._job.owners.here(uid, users.get(uid, ""), gid, groups.get(gid, ""))
                owners[uid, gid] = owner
            if self._user is not None and owner[0] != self._user:
                others.append(position)
                continue
            batch, number = self._open(folder)
            batch.files.append((number, name, mode, *owner, m_s * NS + m_ns, size, *chunks))
            batch.rows.append((page, position))
            batch.size += size
            batch.counts[-1] += 1
            folder.awaited += 1
        return others

    def _chunks(
        self, page: Page, position: int, size: int, chunk: ObjectId, extra: int
    ) -> tuple[tuple[Xattr, ...], Chunks] | None:
        """Attributes; where each chunk begins, and its name. None for a file that is not plain."""
        if not extra:
            if chunk != NO_OBJECT:
                return (), ((0, size, chunk),)
            return None if size else ((), ())
        try:
            entry = decode_entry(page, position, self._repository.tree)
        except Damaged:
            return None
        if any(name.startswith(_AFTERWARDS) for name, _ in entry.xattrs):
            return None
        starts = (0, *(extent.end for extent in entry.extents))
        chunks = tuple(
            (start, end - start, name)
            for start, (end, name) in zip(starts, entry.extents, strict=False)
            if name is not None
        )
        return entry.xattrs, chunks

    def _open(self, folder: Folder) -> tuple[Batch, int]:
        """A batch with room for one more file of the folder, and the folder's number in it."""
        batch = self._batch
        if batch.size >= _BYTES or len(batch.files) >= _FILES:
            batch = self._flush()
        if not batch.folders or batch.folders[-1] is not folder:
            if len(batch.folders) == _DIRECTORIES:
                batch = self._flush()
            batch.folders.append(folder)
            batch.counts.append(0)
        return batch, len(batch.folders) - 1

    def _flush(self) -> Batch:
        """Gives the batch away; the next one."""
        batch, self._batch = self._batch, Batch()
        places, spots = batch.placed(self._repository.index)
        fds = [folder.fd for folder in batch.folders]
        verify = self._job.options.verify
        self._crew.submit(batch.files, places, spots, fds, verify, lambda failed: self._done(batch, failed))
        return self._batch

    def _done(self, batch: Batch, failed: list[int]) -> None:
        for number in failed:
            file = batch.files[number]
            batch.size -= file[6]
            batch.data -= data_of(file[8])
            self._redo(batch.folders[file[0]], *batch.rows[number])
        last = batch.files[-1]
        written = len(batch.files) - len(failed)
        self._job.written(written, batch.size, batch.data, batch.folders[last[0]].inner(last[1]))
        for folder, count in zip(batch.folders, batch.counts, strict=True):
            self._settle(folder, count)

    def _redo(self, folder: Folder, page: Page, position: int) -> None:
        path = folder.inner(page.names[position])
        try:
            entry = self._entry(page, position)
            restore_item(self._job, None, Place(folder.fd, entry.name, path), entry)
        except ITEM_ERRORS as error:
            self._job.failed(path, error)
        self._job.item_done(path)

    def leave(self, folder: Folder, finish: Callable[[int], None]) -> bool:
        """Has `finish` called when the directory's files are written; False when they are already."""
        if not folder.awaited:
            return False
        folder.finish = finish
        return True

    def _settle(self, folder: Folder, count: int) -> None:
        folder.awaited -= count
        if folder.awaited:
            return
        try:
            if folder.finish is not None:
                folder.finish(folder.fd)
        except ITEM_ERRORS as error:
            self._job.failed(folder.path, error)
        finally:
            os.close(folder.fd)

    def finish(self) -> None:
        """Waits until all files are written, and the directories finished."""
        if self._batch.files:
            self._flush()
        self._crew.finish()


def _hands_down(fd: int) -> bool:
    """Whether new files in a directory get an ACL from it."""
    try:
        return _DEFAULT_ACL in os.listxattr(fd)
    except OSError:
        return False
