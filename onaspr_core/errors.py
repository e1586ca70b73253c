"""The one error type that says: the user can mend this."""


class UserError(Exception):
    """What is wrong, where, and what to do, in a sentence or a list of them.

    Raise it for bad settings, missing files and refused input. A single bad item among many is not an
    error but a `onaspr_core.compute.Failure`: the other items are kept.
    """
