"""Reading trees from an index in a process other than its owner's."""

import errno
from pathlib import Path

import lmdb

from backup.index.file import MAP_SIZE, TAIL
from backup.model.errors import Damaged
from backup.model.ids import ObjectId
from backup.objects.block import decompress

TABLE = "trees"
#: A longer tree is read from its pack. A longer value is damage.
MAX_TREE = TAIL - (1 << 20)


class TreeReader:
    """Reads trees from an index that its owner has looked at, and changes nothing: damage is not mended."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        try:
            self._env = lmdb.open(
                str(path), subdir=False, readonly=True, map_size=MAP_SIZE, max_dbs=1, readahead=False
            )
            self._table = self._env.open_db(TABLE.encode(), create=False)
        except lmdb.Error as error:
            raise OSError(errno.EIO, str(error), str(path)) from error

    def tree(self, tree_id: ObjectId) -> bytes | None:
        """The tree's plain bytes; None where they are not kept, or damaged. Not checked against the name."""
        try:
            with self._env.begin(self._table, buffers=True) as txn:
                frame = txn.get(tree_id)
                return None if frame is None or len(frame) > MAX_TREE else decompress(bytes(frame), MAX_TREE)
        except (lmdb.Error, Damaged):
            return None
