"""A process that dies while it writes files."""

import os
import sys
import traceback


def ends_as(work):
    """Forks a process that works, with everything loaded as here; its exit code, or minus the signal that ended it."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        work()
    except BaseException:  # noqa: BLE001  # the test prints what the child wrote
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def killed_at(operation, work):
    """Forks a process that works until its so-manyth operation on files, and dies there; whether it came to its end."""
    left = operation

    def count(event, _arguments):
        nonlocal left
        left -= event in ("open", "os.rename", "os.remove", "os.mkdir", "os.link", "os.rmdir", "shutil.rmtree")
        if left < 0:
            os._exit(9)

    def counted():
        sys.addaudithook(count)
        work()

    return ends_as(counted) == 0
