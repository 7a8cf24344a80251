"""What looking through many snapshots costs."""

from pathlib import Path

import pytest

from backup.model.errors import Damaged
from backup.model.ids import ObjectId
from backup.ops.find import Query, find
from backup.snapshots.tree import Buffer
from backup.source.masks import Mask
from tests.views.grow import Tree, change, grow
from tests.views.kept import Kept, TreesRead


def test_each_distinct_tree_is_read_once_however_many_snapshots_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree: Tree = {f"d{number}": {"file": b"%d" % number} for number in range(20)}
    kept = Kept(tmp_path)
    source = grow(tmp_path / "source", tree)
    for number in range(8):
        change(source / "d7/file", b"%d" % number)
        kept.backup(source)
    every = kept.repository.snapshots()
    trees = TreesRead(kept.repository, monkeypatch.setattr)
    rows = list(find(kept.repository, every, Query([Mask("file")]), every, lambda path, text: None))
    assert len(rows) == 20
    assert max(map(len, rows)) == 8
    # Of each snapshot its manifest's page, its root and d7; the other directories once.
    assert len(trees.read) == 8 * 3 + 19
    kept.repository.close()


def test_a_damaged_directory_is_told_and_the_rest_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(tmp_path)
    kept.backup(grow(tmp_path / "source", {"a": {"file": b"a"}, "b": {"file": b"b"}}))
    every = kept.repository.snapshots()
    (found,) = list(find(kept.repository, every, Query([Mask("a")]), every, lambda path, text: None))
    tree = kept.repository.tree

    def damaged(tree_id: ObjectId) -> Buffer:
        if tree_id == found[0].entry.tree:
            raise Damaged("an object is missing")
        return tree(tree_id)

    monkeypatch.setattr(kept.repository, "tree", damaged)
    problems: list[bytes] = []
    query = Query([Mask("file")])
    rows = list(find(kept.repository, every, query, every, lambda path, text: problems.append(path)))
    assert [version.path for versions in rows for version in versions] == [b"b/file"]
    assert problems == [bytes(tmp_path / "source/a")]
    kept.repository.close()
