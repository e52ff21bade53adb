"""Placeholder."""


def write() -> None:
    """Nothing yet."""
