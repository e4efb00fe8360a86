"""``python -m jaxrg`` is the command ``jaxrg``."""

import sys

from jaxrg.cli import main

sys.exit(main())
