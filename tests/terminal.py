"""Runs a command on a terminal of its own, answers its question, and tells what it showed.

Usage: terminal.py QUESTION ANSWER COMMAND [ARGUMENT...]. Ends with the command's exit code; 99 if the question never came.
"""

import os
import pty
import select
import sys
import time

question, answer, command = sys.argv[1], sys.argv[2], sys.argv[3:]
BOUND = 60.0


def main() -> int:
    process, terminal = pty.fork()
    if process == 0:
        os.execvp(command[0], command)
    shown, answered, deadline = b"", False, time.monotonic() + BOUND
    while time.monotonic() < deadline:
        ready, _, _ = select.select([terminal], [], [], deadline - time.monotonic())
        try:
            read = os.read(terminal, 65536) if ready else b""
        except OSError:  # Linux says so when the other side is closed
            read = b""
        if not read:
            break
        shown += read
        if not answered and question.encode() in shown:
            os.write(terminal, answer.encode() + b"\n")
            answered = True
    sys.stdout.buffer.write(shown)
    if time.monotonic() >= deadline:
        os.kill(process, 9)
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status) if answered else 99


sys.exit(main())
