"""What an object was made with, kept so that it can be made again when a saved fit is loaded."""


class Made:
    """Keeps the arguments of its construction.

    Attributes:
        made_with: positional and keyword arguments, as they were given.
    """

    made_with: tuple[tuple[object, ...], dict[str, object]]

    def __new__(cls, *given: object, **named: object) -> "Made":
        """Keep the arguments; ``__init__`` reads them."""
        self = super().__new__(cls)
        object.__setattr__(self, "made_with", (given, named))
        return self
