"""What a review is worth: simulated people over human and planted noise."""
