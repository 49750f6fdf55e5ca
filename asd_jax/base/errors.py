"""The one exception for mistakes that the person at the keyboard can mend."""

import re

_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Control characters, line breaks, and bytes of a file name that are no UTF-8."""


class UserError(Exception):
    """Its message is one sentence: what was found, where, what was expected, what to do.

    The commands in `tools/` print the sentence alone, without a traceback, and exit with code 2.
    """

    def __str__(self) -> str:
        """One line that every terminal and file takes, whatever the names in it hold."""
        return one_line(super().__str__())


def one_line(text: str) -> str:
    """The text, with what a line of text cannot hold written as escapes."""
    return _UNFIT.sub(lambda match: ascii(match[0])[1:-1], text)


def is_one_line(text: str) -> bool:
    """Whether there is nothing in it that `one_line` would change."""
    return not _UNFIT.search(text)
