"""What an operator sees: logging now; statistics and an admin endpoint have their place here."""
