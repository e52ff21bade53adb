"""Whether the plan of an audit is right, and what operations cost."""
