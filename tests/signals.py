"""What child processes of tests hear."""

import signal


def hears_ctrl_c() -> None:
    """For `preexec_fn`: the child hears Ctrl+C, also where the parent was told to ignore it.

    A shell's background job is, and children inherit that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
