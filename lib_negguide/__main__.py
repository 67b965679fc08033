"""``python -m lib_negguide``."""

import sys

from lib_negguide.cli import main

if __name__ == "__main__":
    sys.exit(main())
