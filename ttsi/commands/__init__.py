"""One module per verb: `add_parser(subparsers)` declares it, `run(args) -> exit code` does it.

A module here imports nothing but light standard modules at its top; `run` imports the rest.
"""
