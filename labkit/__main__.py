"""`python -m labkit` is the command line too."""

from labkit.cli import main

main()
