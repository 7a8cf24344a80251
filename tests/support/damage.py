"""Damage to the files of a repository, as disks and people do it."""

from collections.abc import Callable
from pathlib import Path

KINDS = ("config", "pack", "segment", "manifest", "index")


def files_of(repository: Path, kind: str) -> list[Path]:
    """The files of one kind, sorted by name."""
    patterns = {
        "config": "config.json",
        "pack": "packs/**/*",
        "segment": "index/**/*",
        "manifest": "snapshots/**/*",
        "index": "index.lmdb*",
    }
    return sorted(path for path in repository.glob(patterns[kind]) if path.is_file())


def delete(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    """Cut off the second half."""
    _rewrite(path, path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    _rewrite(path, b"")


def flip_in_the_middle(path: Path) -> None:
    _flip(path, path.stat().st_size // 2)


def flip_at_the_start(path: Path) -> None:
    _flip(path, 0)


def flip_at_the_end(path: Path) -> None:
    _flip(path, path.stat().st_size - 1)


def _flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    _rewrite(path, bytes(data))


def _rewrite(path: Path, data: bytes) -> None:
    """In place; the file may be read-only and stays so."""
    mode = path.stat().st_mode
    path.chmod(0o600)
    path.write_bytes(data)
    path.chmod(mode)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "deleted": delete,
    "truncated": truncate,
    "emptied": empty,
    "flipped-at-the-start": flip_at_the_start,
    "flipped-in-the-middle": flip_in_the_middle,
    "flipped-at-the-end": flip_at_the_end,
}
