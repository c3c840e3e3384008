"""`python -m ttsi` is `ttsi`."""

import sys

from ttsi.cli import main

sys.exit(main())
