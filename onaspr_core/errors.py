"""Errors that say: the user can mend this."""


class PlainError(Exception):
    """What is wrong, where, and what to do, in a sentence or a list of them.

    Raise one of those below. Where a command, a run or a check ends, this one is caught, and its text shown.
    """


class UserError(PlainError):
    """Bad settings, missing files and refused input.

    A single bad item among many is not an error but a `onaspr_core.compute.Failure`: whoever makes many
    catches this one for it, and the other items are kept.
    """


class PassingError(UserError):
    """A refusal that may pass by itself: no permission, no memory, a disk or network that did not answer.

    Whoever remembers that an item cannot be made does not remember this.
    """


class StoreError(PlainError):
    """The object store that everything is kept on is away, or refuses what it is asked.

    No item is to blame, so this is no `UserError`: it ends the run, which goes on when it is started again.
    """
