"""One command a file: `SUMMARY`, `add_arguments(parser)` and `run(context, arguments) -> exit code`.

A command imports the engine inside `run`: `--help` and completion pay for nothing else.
"""

#: In the order in which `--help` lists them.
COMMANDS = (
    "init",
    "backup",
    "import",
    "why",
    "snapshots",
    "show",
    "mount",
    "umount",
    "ls",
    "tree",
    "cat",
    "restore",
    "mirror",
    "export",
    "status",
    "diff",
    "find",
    "versions",
    "duplicates",
    "tag",
    "forget",
    "rewrite",
    "prune",
    "leases",
    "check",
    "repair",
    "index",
    "stats",
    "run",
    "profile",
    "schedule",
    "completion",
)
