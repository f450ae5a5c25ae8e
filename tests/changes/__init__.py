"""Classes that change over time, and what is stored of their objects."""
