"""`python -m examples.makemore`."""

import sys

try:
    from examples.makemore.cli import main

    code = main()
except KeyboardInterrupt:  # while torch is being imported, which takes a moment
    print("python -m examples.makemore: error: interrupted", file=sys.stderr)
    code = 130
sys.exit(code)
