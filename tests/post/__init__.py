"""The listings of the post: the same calls, and what their comments promise."""
