"""Files for type checkers, never run."""
