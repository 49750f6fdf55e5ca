"""Tells in one sentence that another process of a training is lost.

JAX's runtime then ends the process at once, from C++, with a long message on stderr. `watch` puts a small process
between this one and its stderr, which passes on everything else as it comes.
"""

import os
import re
import signal
import subprocess
import sys

_FATAL = re.compile(rb"F\d{4} \d\d:[^\n]*Terminating process because the JAX distributed service")


def watch(num_processes: int | None) -> None:
    """From now on a lost process is reported in one sentence; `num_processes` where it is known."""
    command = [sys.executable, __file__, str(num_processes or "all")]
    between = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    os.dup2(between.stdin.fileno(), sys.stderr.fileno())
    between.stdin.close()  # it ends when the last copy is closed: with this process


def sentence(message: str, num_processes: str) -> str:
    """What JAX's message says to a person."""
    if "RegisterTask" in message:
        return (
            f"Not all of {num_processes} processes have come: run the same command on every host, each with a "
            "--process_id of its own, within five minutes."
        )
    silent = re.search(r"heartbeats\):\s*([\d\s,]+)", message)
    lost = re.findall(r"\d+", silent[1]) if silent else ["0"] if "Failed to send RPC" in message else []
    who = f"Process {', '.join(lost)} of {num_processes}" if lost else f"One of {num_processes} processes"
    return f"{who} is lost: run the same command on all hosts again to go on from the last checkpoint."


def _pass_on(num_processes: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # they are for the process watched, which may have more to say
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    held, ends = b"", b"\n"
    while chunk := os.read(0, 1 << 16):
        held += chunk
        if _FATAL.search(held):
            continue
        begins = held.rfind(b"F", held.rfind(b"\n") + 1)  # perhaps the message, of which more is to come
        passed, held = (held[:begins], held[begins:]) if begins >= 0 else (held, b"")
        os.write(2, passed)
        ends = passed[-1:] or ends
    if found := _FATAL.search(held):
        passed, message = held[: found.start()], held[found.start() :].decode(errors="replace")
        new_line = b"" if (passed or ends).endswith(b"\n") else b"\n"
        held = passed + new_line + f"Error: {sentence(message, num_processes)}\n".encode()
    os.write(2, held)


if __name__ == "__main__":
    _pass_on(sys.argv[1])
