"""What a run leaves: one line a sample, what the run is, and what its sessions proved."""
