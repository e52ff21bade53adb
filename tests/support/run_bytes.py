"""What two equal runs have in common."""


def bytes_of(run):
    """Name to content, of all files but the timing."""
    names = [path.relative_to(run).as_posix() for path in sorted(run.rglob("*")) if path.is_file()]
    return {name: (run / name).read_bytes() for name in names if name != "timing.json"}
