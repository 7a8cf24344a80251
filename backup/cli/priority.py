"""What this process takes of the machine."""

import gc
import os

#: New objects between two looks for cycles among them.
_GC_THRESHOLD = 200_000


def spare_collections() -> None:
    """For what makes many small objects and no cycles: looking for those took a tenth of the time."""
    gc.set_threshold(_GC_THRESHOLD)


def give_way() -> None:
    """This process, and all that it starts, run where the machine has nothing else to do.

    Of a process whose CPU time is idle time, Linux takes the disk's idle time, too.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except OSError:
        # Some containers forbid it. What is nice to others is it with the disk as well.
        os.nice(19)
