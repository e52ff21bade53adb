"""What forward influence finds, and what it costs, beside inner products."""
