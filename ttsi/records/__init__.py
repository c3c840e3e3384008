"""The files that a run leaves: a record per sample, the run's identity, and its sessions."""
