"""Define each command in a module: `run(arguments)` runs it, and may return an exit code."""
