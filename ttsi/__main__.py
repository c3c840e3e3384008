"""`python -m ttsi` is `ttsi`."""

import sys

from ttsi.cli.main import main

sys.exit(main())
