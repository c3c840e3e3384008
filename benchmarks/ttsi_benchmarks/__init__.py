"""One module per benchmark; each docstring shows a row of the real shape."""
