"""SIGTERM and Ctrl-C during a training: it stops after the steps under way, on all hosts after the same ones."""

import signal
import types

import jax

from asd_jax.devices import hosts


class Stop:
    """Notes that SIGTERM or Ctrl-C came, for trainings to stop after the steps under way; entered in the main thread.

    One of several processes that gets it stops all of them. Ctrl-C before the first steps, or again, does not wait.

    Attributes:
        came: whether to stop.
        code: what the process exits with.
        stepping: whether there is something to save.
    """

    def __init__(self) -> None:
        self.came, self.stepping = False, False
        self.code = 128 + signal.SIGTERM
        self.asked: jax.Array | bool = False

    def now(self) -> bool:
        """Whether to stop; all processes ask after the same steps, and get the same answer."""
        if jax.process_count() == 1:
            return self.came
        before, self.asked = self.asked, hosts.anywhere(self.came)
        return bool(jax.device_get(before))  # known since the steps before: nobody waits

    def _note(self, number: int, frame: types.FrameType | None) -> None:
        before, again = self.before[number], self.came
        self.came, self.code = True, 128 + number
        if number == signal.SIGINT and callable(before) and (again or not self.stepping):
            before(number, frame)

    def __enter__(self) -> "Stop":
        numbers = [signal.SIGTERM]
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            numbers.append(signal.SIGINT)
        self.before = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self.before.items():
            signal.signal(number, before)
