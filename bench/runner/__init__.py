"""What bench/run is made of."""


class Trouble(Exception):
    """What ends the run with a message."""
