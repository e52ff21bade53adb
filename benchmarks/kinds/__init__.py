"""Defaults of every kind of task, chosen by planted errors: tokens, several labels, numbers, pairs."""
