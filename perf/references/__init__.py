"""The references: what one would build from the public libraries, at its best.

Each has the model in memory, touches no disk, and gets exactly the token ids that ours gets.
"""

from perf.references.resident import Resident

__all__ = ["Resident"]
