"""``python -m gradsift``."""

from gradsift.cli import main

main()
