"""One module for each command, with a function `run(arguments)`, which may give an exit code."""
