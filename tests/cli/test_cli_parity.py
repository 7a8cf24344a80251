"""A repository with parity heals small rot by itself: in reading, in a mount, and by repair."""

import errno
from pathlib import Path

import pytest

from backup.objects.block import BlockKind, CompressionSettings
from backup.objects.hashing import name_of
from backup.objects.pack import PackRecord, places
from backup.objects.parity import Parity
from backup.objects.reader import ObjectReader
from backup.objects.writer import PackWriter
from backup.storage import MemoryStorage
from tests.repository.stored import noise
from tests.support.check import DAMAGED, DONE
from tests.support.damage import DAMAGES, files_of
from tests.support.imbfs import Imbfs
from tests.support.small import FILES, bytes_of


@pytest.fixture
def protected(imbfs: Imbfs, source: Path) -> Imbfs:
    imbfs.run("init", "--parity", "10%")
    imbfs.run("backup", source)
    return imbfs


def packs(imbfs: Imbfs) -> list[Path]:
    return files_of(imbfs.repository, "pack")


def rot(imbfs: Imbfs) -> None:
    for pack in packs(imbfs):
        DAMAGES["flipped-in-the-middle"](pack)
        DAMAGES["flipped-at-the-end"](pack)


def test_rot_harms_no_reader_and_is_told(protected: Imbfs, tmp_path: Path) -> None:
    rot(protected)
    result = protected.run("cat", "latest:large")
    assert result.stdout == FILES[b"large"]
    assert "parity" in result.errors
    assert protected.run("restore", "latest", "--target", tmp_path / "back").code == DONE
    assert bytes_of(tmp_path / "back").items() >= FILES.items()
    with protected.mounted("latest") as mount:
        assert (mount / "large").read_bytes() == FILES[b"large"]


def test_check_tells_of_rot_that_reaches_nothing_and_repair_mends_it(protected: Imbfs, source: Path) -> None:
    before = {pack.name: pack.read_bytes() for pack in packs(protected)}
    rot(protected)
    source.rename(source.with_name("away"))
    result = protected.run("check", "--read-data", check=False)
    assert result.code == DAMAGED
    assert "reaches" not in result.text
    assert "mended from its parity" in protected.run("repair").text
    assert {pack.name: pack.read_bytes() for pack in packs(protected)} == before
    assert protected.run("check", "--read-data").code == DONE


def test_lost_parity_is_told_and_made_anew(protected: Imbfs) -> None:
    files = sorted(path for path in (protected.repository / "parity").rglob("*") if path.is_file())
    assert len(files) == len(packs(protected))
    before = [path.read_bytes() for path in files]
    files[0].unlink()
    DAMAGES["flipped-in-the-middle"](files[-1])
    result = protected.run("check", "--read-data", check=False)
    assert (result.code, "have no parity" in result.text) == (DAMAGED, True)
    protected.run("repair")
    assert [path.read_bytes() for path in files] == before


def test_prune_takes_the_parity_with_the_pack(protected: Imbfs, source: Path) -> None:
    (source / "large").unlink()
    protected.run("backup", source)
    protected.run("forget", "--keep-last", "1", "--prune")
    protected.run("prune", "--max-unused", "0")
    protected.run("prune")
    names = {path.name for path in (protected.repository / "parity").rglob("*") if path.is_file()}
    assert names == {pack.name for pack in packs(protected)}


@pytest.mark.parametrize("text", ["x", "101%", "-1", "2.5%"])
def test_a_share_that_cannot_be_is_wrong_use(imbfs: Imbfs, text: str) -> None:
    assert imbfs.run("init", f"--parity={text}", check=False).code == 2


def test_a_sector_that_the_disk_gives_no_more_is_computed() -> None:
    class Failing(MemoryStorage):
        """A read of the pack fails where it touches its first bytes of data."""

        def read(self, key: str, offset: int = 0, size: int | None = None) -> bytes:
            if key.startswith("packs/") and offset < 2000 and (size is None or offset + size > 500):
                raise OSError(errno.EIO, "Input/output error")
            return super().read(key, offset, size)

    healthy, data = MemoryStorage(), noise(1, 300_000)
    made: list[PackRecord] = []
    writer = PackWriter(
        healthy, BlockKind.DATA, "blake3", CompressionSettings("none"), 1 << 20, made.append, parity=5
    )
    name = name_of("blake3")
    writer.add(name(data), data)
    writer.finish()
    failing = Failing()
    failing.files = healthy.files
    (place,) = (place for _, place in places(made[0]))
    reader = ObjectReader(
        failing, lambda _: place, name, mend=lambda pack, *part: Parity(failing, pack).read(*part)
    )
    assert bytes(reader.read(name(data))) == data


def test_all_files_of_a_repository_are_the_owners_alone(protected: Imbfs, source: Path) -> None:
    rot(protected)
    source.rename(source.with_name("away"))
    (protected.repository / "parity").rename(source.with_name("parity"))
    protected.run("repair", check=False)
    assert (protected.repository / "missing").is_file()
    for path in (protected.repository, *protected.repository.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path
