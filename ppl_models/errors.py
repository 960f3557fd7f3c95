"""What the suite raises when it is the input, and not the program, that is wrong."""


class InputError(ValueError):
    """A table, a column, a row or an option that cannot be used as given.

    The message is one line that names what was expected, what came and where. Scripts print it and
    exit with code 2; any other exception is a fault of the program and keeps its traceback.
    """
