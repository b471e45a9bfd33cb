"""What reading costs: prices as data, estimates, budgets, what was spent, and where this machine is."""
