"""What trimming toward fairness and robustness does."""
