"""A tar file of what is damaged."""

import io
import tarfile
from pathlib import Path

from backup.model.errors import Damaged
from backup.model.ids import ObjectId
from backup.ops.export_tar import export_tar
from backup.ops.exporting.volumes import Stream
from backup.ops.restoring.reader import RepositoryReader
from tests.views.grow import grow
from tests.views.kept import Kept


class Reader(RepositoryReader):
    """The second chunk that is asked for is damaged."""

    asked = 0

    def chunk(self, object_id: ObjectId) -> bytes | memoryview:
        self.asked += 1
        if self.asked == 2:
            raise Damaged("it is missing")
        return super().chunk(object_id)


class Heard:
    def __init__(self) -> None:
        self.problems: list[bytes] = []

    def progress(self, files: int, size: int, path: bytes) -> None: ...

    def notice(self, text: str) -> None: ...

    def problem(self, path: bytes, text: str) -> None:
        self.problems.append(path)


def test_a_damaged_file_has_zeros_is_told_and_the_rest_is_whole(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    snapshot = kept.backup(grow(tmp_path / "source", {"a": b"first", "b": b"second", "c": b"third"}))
    written, heard = io.BytesIO(), Heard()
    root = kept.repository.root(snapshot).entry(0)
    summary = export_tar(Reader(kept.repository), root, Stream(written), heard)
    assert (summary.errors, heard.problems) == (1, [b"b"])
    written.seek(0)
    with tarfile.open(fileobj=written) as found:
        content = {name: found.extractfile(name).read() for name in ("a", "b", "c")}  # type: ignore[union-attr]
    assert content == {"a": b"first", "b": bytes(6), "c": b"third"}
    kept.repository.close()
