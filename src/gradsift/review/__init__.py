"""A local page on which people decide about what was found."""

from gradsift.review.serve import Address, serve

__all__ = ["Address", "serve"]
