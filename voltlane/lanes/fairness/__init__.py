"""That no client lives at the cost of another."""
