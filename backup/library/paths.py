"""What callers give as paths: all that `os.fsencode` takes."""

import os

#: Text is taken as the file system has it: surrogates stand for what is not UTF-8.
Pathlike = str | bytes | os.PathLike[str] | os.PathLike[bytes]
