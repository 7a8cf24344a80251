"""Objects: runs of plain bytes named by their hash, in compressed blocks, in packs.

Knows nothing of trees or snapshots.
"""
