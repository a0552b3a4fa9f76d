"""``python -m anasyn`` is the command ``anasyn``."""

import sys

from .cli import main

sys.exit(main())
