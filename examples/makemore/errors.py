"""The one exception of the example."""


class UserError(Exception):
    """Something the person at the command line can put right; the message says how, in one line."""
