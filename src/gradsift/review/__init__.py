"""A local page on which people decide about what was found."""
