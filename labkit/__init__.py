"""labkit: a running shop that teaches how data stays right when any step fails."""

import os

# gRPC reads this when it is first imported. Processes are killed here on purpose, and it would tell
# of each that goes, in whatever notebook talks to it.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

__version__ = "0.1.0"
