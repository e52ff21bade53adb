"""Files and folders that are whole at their final name, or not there.

What is written lies aside first, in the same folder under a name that begins with a dot. It is flushed to disk and then
given its final name in one step, so a process that is killed leaves nothing half written. While it is written, its
process holds a lock, which the system takes back when the process ends.

In a store (:mod:`gradsift.locations`), which has no renames and no locks, a file appears whole by itself, a folder is
whole with the file that is written last, and a lease stands in for the lock.
"""

from gradsift.writing.disk import flush, flush_below
from gradsift.writing.errors import is_full, writing
from gradsift.writing.locks import locked
from gradsift.writing.whole import always, never, new_file, new_folder, refuse_if_taken, remove, reserved

__all__ = [
    "always",
    "flush",
    "flush_below",
    "is_full",
    "locked",
    "never",
    "new_file",
    "new_folder",
    "refuse_if_taken",
    "remove",
    "reserved",
    "writing",
]
