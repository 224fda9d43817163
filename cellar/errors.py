"""The one exception that is meant for a person."""


class UserError(Exception):
    """Something that the user can put right: a path, a file, a label, a setting.

    The message names the fault (with file and line where there is one) and what to do. The command
    line prints it without a traceback and leaves with exit code 2. A bug is any other exception.
    """
