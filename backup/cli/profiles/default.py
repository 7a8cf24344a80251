"""What `imbfs profile init` writes: everything in it but the paths may be taken out."""

DEFAULT = """\
# A profile of imbfs: docs/profiles.md has every key. `imbfs run {name}` does what it says.
# Keys of [backup], [forget], [prune] and [check] are the options of these commands.

# Where the backups are kept; without it, the usual repository.
#repository = "/media/usb/backups"

[backup]
paths = {paths}
exclude-caches = true
#exclude = ["*.tmp", "/home/*/.cache/"]
#one-file-system = true
#low-priority = true

# What holds for one path and all below it.
#[[rule]]
#path = "~/Documents/drafts"
#exclude = ["*.bak"]

# Which snapshots of these paths stay; without this table, all do.
[forget]
keep-last = 3
keep-daily = 14
keep-weekly = 8
keep-monthly = 12

# Frees what was forgotten.
[prune]
every = "7d"

# Looks for damage, and reads a part of all data each time.
[check]
every = "7d"
read-data = true
subset = "5%"

# Commands around a run, each as its words: no shell reads them.
#[hooks]
#before = ["mount", "/media/usb"]
#after = ["umount", "/media/usb"]
#on-failure = ["notify-send", "imbfs", "the backup failed"]
#timeout = 600
"""
