"""What every package uses and nobody outside needs: messages, files, suggestions, input."""
