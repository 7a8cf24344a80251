"""Opens and owns a repository's storage, index and catalogue. Has no verbs: those are in `ops`."""

from backup.repository.config import Config
from backup.repository.repository import Repository
from backup.repository.writer import Writer

__all__ = ["Config", "Repository", "Writer"]
