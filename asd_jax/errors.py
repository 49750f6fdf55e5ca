"""The one exception for mistakes that the person at the keyboard can mend."""


class UserError(Exception):
    """Its message is one sentence: what was found, where, what was expected, what to do.

    The commands in `tools/` print the sentence alone, without a traceback, and exit with code 2.
    """
