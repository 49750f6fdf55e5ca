"""One line of what is found."""

import dataclasses

OK, WARNING, WRONG = "ok", "warning", "wrong"
GB = 1e9


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line.

    Attributes:
        level: "ok", "warning" (a training can start) or "wrong" (it cannot).
        subject: what was looked at.
        found: what there is.
        advice: what to do; empty where nothing is to be done.
    """

    level: str
    subject: str
    found: str
    advice: str = ""
