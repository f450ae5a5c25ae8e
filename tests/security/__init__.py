"""What a stranger can do with data, names and rights, and what he is shown: the promises of docs/security.md."""
