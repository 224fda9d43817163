"""The command line: thin, no logic of its own."""

__version__ = "0.1.0"
