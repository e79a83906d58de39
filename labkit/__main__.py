"""`python -m labkit` is the command line too."""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # the current folder: a platform.py or kafka.py in it is not meant for us

from labkit.cli import main

main()
