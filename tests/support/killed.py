"""A process that dies while it writes files."""

import os
import sys


def killed_at(operation, work):
    """Forks a process that works until its so-manyth operation on files, and dies there; whether it came to its end."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    left = operation

    def count(event, _arguments):
        nonlocal left
        left -= event in ("open", "os.rename", "os.remove", "os.mkdir", "os.link", "os.rmdir", "shutil.rmtree")
        if left < 0:
            os._exit(9)

    sys.addaudithook(count)
    work()
    os._exit(0)
