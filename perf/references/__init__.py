"""The references: the best that one would build from the public libraries.

Each has the model in memory, uses no disk, and gets exactly the token ids that ours gets.
"""

from perf.references.resident import Resident

__all__ = ["Resident"]
