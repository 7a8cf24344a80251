"""Who watches an operation."""

from backup.ops.prune import Plan


class Monitor:
    """Keeps what went wrong and what is worth knowing. Derive from it to hear more, as it happens.

    Methods are called from the thread that called the operation. Paths are bytes; sizes are bytes, too.
    """

    def __init__(self) -> None:
        #: What could not be backed up or put back, with the reason; the rest went on.
        self.problems: list[tuple[bytes, str]] = []
        self.notices: list[str] = []

    def problem(self, path: bytes, text: str) -> None:
        self.problems.append((path, text))

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def entries(self, files: int, size: int) -> None:
        """A backup: so many names more are done, with files of this size."""

    def read(self, size: int) -> None:
        """A backup: so many bytes more were read."""

    def directory(self, path: bytes) -> None:
        """A backup: this directory is being walked."""

    def progress(self, files: int, size: int, path: bytes) -> None:
        """A restore: so many names, and bytes of content, are dealt with in all."""

    def step(self, text: str, total: int) -> None:
        """A check or prune: a part begins, with so much to do in it."""

    def advance(self, amount: int) -> None:
        """A check or prune: so much more of that part is done."""

    def plan(self, plan: Plan) -> None:
        """A prune: what is going to be done, or would be."""
