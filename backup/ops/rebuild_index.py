"""Making the LMDB index anew."""

from backup.repository import Repository, Writer


def rebuild_index(repository: Repository) -> None:
    """Makes the index from segments, packs and manifests.

    Packs that no segment lists get one, where the repository may be written.
    """
    repository.index.recreate()
    repository.lookup.sync()
    repository.index.note_snapshots(repository.catalogue.ids())
    if repository.storage.writable:
        writer = Writer(repository, "index rebuild")
        try:
            writer.finish()
        finally:
            writer.close()
