"""`python -m examples.makemore`."""

import sys

from examples.makemore.cli import main

sys.exit(main())
