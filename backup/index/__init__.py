"""The LMDB index: object → place, tree → listing. Derived: it may be deleted and rebuilt.

This is the only layer that opens LMDB.
"""

from backup.index.index import Index, IndexStatus
from backup.index.location import index_paths
from backup.index.trees import TreeReader

__all__ = ["Index", "IndexStatus", "TreeReader", "index_paths"]
