"""A local page on which people decide about what was found, and all that is known of one sample."""

from gradsift.review.explanation import Explanation, explain
from gradsift.review.serve import Address, serve

__all__ = ["Address", "Explanation", "explain", "serve"]
