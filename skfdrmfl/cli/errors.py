"""What ends a command that was well begun: each is one line on standard error and an exit status."""


class OutsideDomain(Exception):
    """Rows that were predicted lie outside the training rows, and --strict was asked for."""


class Interrupted(Exception):
    """Ctrl-C, after which something was kept; the text says what."""
