"""The blocking functions: the same leaderboard without an event loop, in threads and in forked processes."""
