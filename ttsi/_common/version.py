"""The version of ttsi, and all that there have been."""

__version__ = "0.2.0"

VERSIONS = ("0.1.0", __version__)
"""The oldest first. A run that says that it was made by another one is not believed."""
