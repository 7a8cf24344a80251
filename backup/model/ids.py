"""Distinct types for the things that are bytes or strings on disk."""

from typing import NewType

#: Name of an object, a pack or a segment: the 32-byte hash of its plain bytes.
ObjectId = NewType("ObjectId", bytes)
PackId = NewType("PackId", bytes)
SegmentId = NewType("SegmentId", bytes)

#: Name of a snapshot: the hash of its manifest's body, as 64 lower-case hex digits.
SnapshotId = NewType("SnapshotId", str)

ID_SIZE = 32
#: Stands for "no object": an empty file, a hole, an entry without content.
NO_OBJECT = ObjectId(bytes(ID_SIZE))
#: Shown to people in place of a whole snapshot id.
SHORT_ID = 12
