"""A storage in memory, for tests."""

from collections.abc import Iterator


class MemoryStorage:
    writable = True

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def stage(self) -> "MemoryStaged":
        return MemoryStaged(self.files)

    def put(self, key: str, data: bytes) -> None:
        self.files[key] = bytes(data)

    def read(self, key: str, offset: int = 0, size: int | None = None) -> bytes:
        if key not in self.files:
            raise FileNotFoundError(key)
        return self.files[key][offset : None if size is None else offset + size]

    def size(self, key: str) -> int:
        return len(self.read(key))

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        start = prefix.rstrip("/") + "/"
        return ((key, len(data)) for key, data in list(self.files.items()) if key.startswith(start))

    def delete(self, key: str) -> None:
        if key not in self.files:
            raise FileNotFoundError(key)
        del self.files[key]

    def move(self, key: str, new_key: str) -> None:
        if key not in self.files:
            raise FileNotFoundError(key)
        self.files[new_key] = self.files.pop(key)


class MemoryStaged:
    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files
        self._data = bytearray()

    def append(self, data: bytes | memoryview) -> None:
        self._data += data

    def publish(self, key: str) -> None:
        self._files[key] = bytes(self._data)

    def discard(self) -> None:
        self._data.clear()
