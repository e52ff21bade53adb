"""From finding to gaining: what cures of wrong labels do to accuracy, with controls."""
