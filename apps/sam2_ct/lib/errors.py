"""The three errors a user can meet; everything else is a defect of ours."""


class BadInput(ValueError):
    """What was handed in cannot be used.

    The message is one sentence a person can act on: what is wrong, where, what to do.
    Commands exit with code 2, the server answers 422.
    """


class Unavailable(RuntimeError):
    """Something needed is not to be had now (a checkpoint that cannot be downloaded, say).

    Commands exit with code 2, the server answers 503.
    """


class Cancelled(RuntimeError):
    """The work was stopped on request; what was begun is not written.

    Commands exit with code 130, the server answers 409.
    """
