"""The version of ttsi."""

__version__ = "0.2.0"
