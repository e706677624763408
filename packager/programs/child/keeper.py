"""Starts the inference server on a socket that is bound already, and writes down how it ended. A process of its own.

    python -I -S keeper.py SOCKET EXIT_FILE stays|goes PROGRAM [ARGUMENT]...

The server always asks for 0.0.0.0. gunicorn leaves that aside when it is handed a socket in systemd's way (LISTEN_FDS,
LISTEN_PID, descriptor 3; `sd_listen_fds(3)`), so the server runs unmodified, and only where it was meant to. Whoever
starts a service ends before it; so somebody else has to be the parent who learns its exit code.

With `goes` it ends when its own parent does. Standard library only.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from contextlib import suppress

#: <linux/prctl.h>
_PR_SET_PDEATHSIG = 1

#: Descriptor of the first socket, of systemd's protocol.
_LISTEN_FDS_START = 3


def end_with_parent(number: int) -> None:
    """Have this process sent a signal when its parent ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def become(listening: int, program: list[str], parent: int) -> None:
    """Become the server."""
    end_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if listening == _LISTEN_FDS_START:
        os.set_inheritable(listening, True)
    else:
        os.dup2(listening, _LISTEN_FDS_START)
    os.execve(program[0], program, {**os.environ, "LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())})


def pass_on(server: int) -> None:
    """Send the server a SIGTERM; one that has ended is no error."""
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(server, signal.SIGTERM)


def main(words: list[str]) -> None:
    """Start the program, pass SIGTERM on, and wait for its end."""
    listening, exit_file, bond, *program = words
    if bond == "goes":
        end_with_parent(signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    own = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            become(int(listening), program, own)
        except OSError as error:
            os.write(2, f"{program[0]}: {error.strerror}\n".encode())
        finally:
            os._exit(127)
    os.close(int(listening))
    server = os.pidfd_open(child)  # what it names is no other process, even when the number is given again
    signal.signal(signal.SIGTERM, lambda *_: pass_on(server))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with open(f"{exit_file}.new", "w", encoding="ascii") as file:
        json.dump({"code": 128 - code if code < 0 else code}, file)
    os.replace(f"{exit_file}.new", exit_file)


if __name__ == "__main__":
    main(sys.argv[1:])
