"""labkit: a running shop that teaches how data stays right when any step fails."""

__version__ = "0.1.0"
