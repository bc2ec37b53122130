"""``python -m pysyncml.cli.notes`` is ``sync-notes``."""

import sys

from pysyncml.cli.notes import main

sys.exit(main())
