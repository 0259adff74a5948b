"""Stands between approxhw and a program that it starts: ends the program, and all that it started, once approxhw is gone.

Run as a program of its own: ``keeper.py SOCKET PARENT MEMORY COMMAND…``, leader of a process group (``start_new_session``) that
COMMAND is in, too. SOCKET is the number of a descriptor whose other end approxhw alone holds: it closes however approxhw
ends, by ``kill -9`` as well, on every Unix. Through it goes one line back: ``ended CODE`` (negative: by that signal) or
``error NUMBER`` where COMMAND could not be started. COMMAND and each of its children may have MEMORY bytes: what asks for more,
as a Verilog text of a few bytes can make a tool do, ends alone and not with the machine. Nothing is imported that takes time:
this comes before every program.
"""

import os
import resource
import select
import signal
import sys

PATIENCE = 1000
"""Milliseconds after which the parent is looked at, too: a fork of it may hold the other end of the socket."""


def keep_program(socket: int, parent: int, memory: int, command: list[str]) -> None:
    """Run *command* in this process group; tell how it ended, or end the group where *parent* is gone first."""
    limit_memory(memory)
    os.set_inheritable(socket, False)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    try:
        child = os.posix_spawnp(command[0], command, os.environ, setsigdef=[signal.SIGPIPE, signal.SIGXFSZ])
    except OSError as error:
        os.write(socket, b"error %d" % (error.errno or 0))
        return
    poller = select.poll()
    poller.register(socket, select.POLLIN)
    poller.register(woken, select.POLLIN)
    while True:
        ready = dict(poller.poll(PATIENCE))
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            os.write(socket, b"ended %d" % os.waitstatus_to_exitcode(status))
            return
        if socket in ready or os.getppid() != parent:
            os.killpg(0, signal.SIGKILL)
        if woken in ready:
            os.read(woken, 4096)


def limit_memory(most: int) -> None:
    """Let this process and its children write *most* bytes each, or fewer where less is allowed already.

    What is only set aside, as browsers and virtual machines do with more than any machine has, does not count.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    allowed = [each for each in (most, soft, hard) if each != resource.RLIM_INFINITY]
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (min(allowed), hard))
    except (ValueError, OSError):  # a system that has no such limit
        return


if __name__ == "__main__":
    keep_program(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
