"""Where files lie: a local path, or a URL that fsspec serves. The one place where a text becomes one of the two.

Local paths are :class:`pathlib.Path`. A :class:`RemotePath` offers the same names for what the program asks of a path.
Files that must be local, to be mapped into memory or read by a library, are copied once by :func:`local_copy`.
"""

from gradsift.locations.copies import keep_copy, local_copy
from gradsift.locations.leases import is_leased, leased, refuse_unwritable
from gradsift.locations.names import as_location, is_inside, is_url, relative
from gradsift.locations.remote import Location, RemotePath

__all__ = [
    "Location", "RemotePath", "as_location", "is_inside", "is_leased", "is_url", "keep_copy", "leased", "local_copy",
    "refuse_unwritable", "relative",
]  # fmt: skip
