"""Run the command line: `python -m ttsi` is the same as `ttsi`."""

import sys

from ttsi.cli.main import main

sys.exit(main())
