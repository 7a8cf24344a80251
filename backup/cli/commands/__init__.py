"""One command a file: `add_arguments(parser)` and `run(context, arguments) -> exit code`.

A command imports the engine inside `run`: `--help` and completion pay for nothing else.
"""

#: What each does, in the order in which `--help` lists them: told without importing any.
COMMANDS = {
    "init": "make an empty repository",
    "backup": "back up paths as one snapshot",
    "import": "take a plain copy in as a snapshot with a time of its own",
    "why": "say which rule takes a path in, or keeps it out",
    "snapshots": "list the snapshots, oldest first",
    "show": "show one snapshot with all its figures",
    "mount": "show a snapshot, or all of them, as a read-only file system",
    "umount": "unmount, and wait for the driver to end",
    "ls": "list a directory of a snapshot",
    "tree": "draw a directory of a snapshot, with all below it, as a tree",
    "cat": "write a file of a snapshot to stdout",
    "restore": "put a snapshot back into a directory",
    "mirror": "keep a plain directory equal to a snapshot",
    "export": "copy a snapshot, or what one changed, to plain files",
    "status": "show what changed in the source since its latest snapshot",
    "diff": "show what differs between two snapshots, or a snapshot and the live tree",
    "find": "look for names in all snapshots",
    "versions": "list the distinct versions of one file",
    "duplicates": "list files of equal content in a snapshot",
    "tag": "change the tags and the description of snapshots",
    "forget": "drop snapshots, by a policy or by name",
    "rewrite": "make new snapshots without some paths of others",
    "prune": "free what no snapshot reaches",
    "leases": "show which processes read and write, or remove what a lost machine left",
    "check": "look for damage, and for the files that it reaches",
    "scrub": "read the source again, and look for files that changed unseen",
    "repair": "rebuild what can be rebuilt, and heal what the source or another repository still has",
    "index": "rebuild the LMDB index, or show what it holds",
    "stats": "tell what the repository takes, and which snapshot how much of it",
    "source": "lock what is not to be looked at for now, and keep what the backups have of it",
    "run": "back up, forget, prune and check as profiles say",
    "profile": "make, show, edit, check and import profiles",
    "schedule": "run profiles at set times, by systemd or cron",
    "completion": "print the completion script of a shell",
}
