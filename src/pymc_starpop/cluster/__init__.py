"""What a cluster likelihood is given: its parameters and options, and their checks."""
