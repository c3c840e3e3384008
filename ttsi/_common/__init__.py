"""Helpers that all packages use, and that are not public: messages, files, suggestions, input."""
