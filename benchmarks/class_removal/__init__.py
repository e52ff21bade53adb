"""How well influence functions remove a class, a backdoor or flagged samples from a model."""
