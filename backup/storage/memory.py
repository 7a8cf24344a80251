"""A storage in memory, for tests."""

from collections.abc import Callable, Iterator


class MemoryStorage:
    writable = True

    def __init__(self, clock: Callable[[], int] = lambda: 0) -> None:
        """`clock` gives the times that files get, in ns."""
        self.files: dict[str, bytes] = {}
        self._times: dict[str, int] = {}
        self._clock = clock

    def stage(self) -> "MemoryStaged":
        return MemoryStaged(self)

    def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        self.files[key] = bytes(data)
        self._times[key] = self._clock()

    def read(self, key: str, offset: int = 0, size: int | None = None) -> bytes:
        if key not in self.files:
            raise FileNotFoundError(key)
        return self.files[key][offset : None if size is None else offset + size]

    def size(self, key: str) -> int:
        return len(self.read(key))

    def modified(self, key: str) -> int:
        self.read(key)
        return self._times.get(key, 0)

    def touch(self, key: str) -> None:
        self.read(key)
        self._times[key] = self._clock()

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        start = prefix.rstrip("/") + "/"
        return ((key, len(data)) for key, data in list(self.files.items()) if key.startswith(start))

    def delete(self, key: str, *, durable: bool = True) -> None:
        if key not in self.files:
            raise FileNotFoundError(key)
        del self.files[key]
        self._times.pop(key, None)

    def move(self, key: str, new_key: str) -> None:
        if key not in self.files:
            raise FileNotFoundError(key)
        self.files[new_key] = self.files.pop(key)
        self._times[new_key] = self._times.pop(key, 0)


class MemoryStaged:
    def __init__(self, storage: MemoryStorage) -> None:
        self._storage = storage
        self._data = bytearray()

    def append(self, data: bytes | memoryview) -> None:
        self._data += data

    def publish(self, key: str, *, durable: bool = True) -> None:
        self._storage.put(key, bytes(self._data))

    def discard(self) -> None:
        self._data.clear()
