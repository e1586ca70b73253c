"""Which versions of which libraries made an item, for its record."""

from importlib.metadata import version


def library_versions(*names: str) -> dict[str, str]:
    """Return the installed version of each named distribution; they are not imported."""
    return {name: version(name) for name in names}
