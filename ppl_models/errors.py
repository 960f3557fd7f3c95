"""What the suite raises when it is the input, and not the program, that is wrong."""

DOUBTFUL = 3  # the exit code where some numbers cannot be trusted, under --strict


class InputError(ValueError):
    """A table, a column, a row or an option that cannot be used as given.

    The message is one line that names what was expected, what came and where. Scripts print it and
    exit with code 2; any other exception is a fault of the program and keeps its traceback.
    """


class FitWarning(UserWarning):
    """A fit that ended before it was done."""


def at_least_one(where: str = "", **counts: int | None) -> None:
    """Refuse counts below one; None is no count.

    Args:
        where: what the message begins with.
        counts: numbers by the names that the caller knows them by.

    Raises:
        InputError: one of them is below one.
    """
    for name, count in counts.items():
        if count is not None and count < 1:
            raise InputError(f"{where}{name}: expected one or more, got {count}")
