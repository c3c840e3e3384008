"""The first-party plugins; they enter through the same entry points as anybody's."""
