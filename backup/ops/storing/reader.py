"""Reading a batch: files to plain objects in memory, and to what their rows need."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from backup.model.entry import Extent
from backup.model.ids import ObjectId
from backup.objects.chunker import Chunker, ReadInto
from backup.objects.hashing import Hasher, HashName, name_of, new_hasher
from backup.ops.storing.batch import FileToRead
from backup.ops.storing.files import store_file
from backup.ops.storing.part import MAX_OBJECTS, SLACK, Part, Result
from backup.ops.storing.rows import bounded
from backup.snapshots.extents import encode_content
from backup.snapshots.tree import encode_extra, encode_stat
from backup.source.seals import Seals


class HandOver(Protocol):
    """Takes a part that filled its memory, and gives memory to go on with."""

    def __call__(self, part: Part, /) -> memoryview: ...


class Streamed(NamedTuple):
    """What came out of a stream. `hash` is that of all bytes where there are several chunks."""

    extents: list[Extent]
    hash: bytes | None


class BatchReader:
    """Reused for many batches; not for several threads. Files that it has read get `seals`."""

    def __init__(self, hash_name: HashName, chunker: Chunker, seals: Seals | None = None) -> None:
        self._name = name_of(hash_name)
        self._hash_name = hash_name
        self._chunker = chunker
        self._seals = seals

    def read(
        self, directories: list[int], files: list[FileToRead], room: memoryview, hand_over: HandOver
    ) -> Part:
        """Reads all files; returns the last part, and hands those before it over."""
        objects = Objects(self._name, self._hash_name, room, hand_over)
        for place, name, device, inode in files:
            try:
                result = self._file(directories[place], name, (device, inode), objects)
            except OSError as error:
                result = (error.errno or 0, error.strerror or str(error))
            objects.results.append(result)
        return objects.part(last=True)

    def read_stream(self, read_into: ReadInto, room: memoryview, hand_over: HandOver) -> Streamed:
        """Reads a stream to its end, in parts that are all handed over."""
        objects = Objects(self._name, self._hash_name, room, hand_over)
        hasher = objects.new_hasher()
        extents: list[Extent] = []
        size = 0
        for chunk in self._chunker.cut_stream(read_into):
            size += len(chunk)
            hasher.update(chunk)
            extents.append(Extent(size, objects.store(chunk)))
        hand_over(objects.part(last=True))
        return Streamed(extents, hasher.digest() if len(extents) > 1 else None)

    def _file(self, dir_fd: int, name: bytes, expected: tuple[int, int], objects: "Objects") -> Result:
        content = store_file(dir_fd, name, expected, objects, self._chunker, self._seals)
        lists: list[bytes] = []

        def name_list(data: bytes) -> ObjectId:
            lists.append(data)
            return self._name(data)

        object_id, extents = encode_content(content.extents, name_list)
        extra = bounded(encode_extra(b"", content.xattrs, extents, content.hash))
        return encode_stat(content.status, content.size), object_id, extra, content.flags, lists


class Objects:
    """The plain objects of a part, laid into memory one after the other."""

    def __init__(
        self,
        name: Callable[[bytes | memoryview], ObjectId],
        hash_name: HashName,
        room: memoryview,
        hand_over: HandOver,
    ) -> None:
        self.results: list[Result] = []
        self._objects: list[tuple[ObjectId, int]] = []
        self._name = name
        self._hash_name = hash_name
        self._room = room
        self._hand_over = hand_over
        self._used = 0

    def new_hasher(self) -> Hasher:
        return new_hasher(self._hash_name)

    def store(self, data: bytes | memoryview) -> ObjectId:
        room = self.room(len(data))
        # Hashed where it comes from: it is in the processor's cache there.
        object_id = self._name(data)
        room[:] = data
        return self._add(object_id, len(data))

    def room(self, size: int) -> memoryview:
        end = self._used + size
        if end > len(self._room) - SLACK or len(self._objects) >= MAX_OBJECTS:
            self._room = self._hand_over(self.part(last=False))
            self._used, end = 0, size
        return self._room[self._used : end]

    def keep(self, data: memoryview) -> ObjectId:
        return self._add(self._name(data), len(data))

    def _add(self, object_id: ObjectId, size: int) -> ObjectId:
        self._objects.append((object_id, size))
        self._used += size
        return object_id

    def part(self, last: bool) -> Part:
        part = Part(self._objects, self.results, last)
        self._objects, self.results = [], []
        return part
