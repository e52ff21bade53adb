"""The recipes of ``gradsift demo``: data sets that scikit-learn bundles, with labels made wrong, and what learns them."""
