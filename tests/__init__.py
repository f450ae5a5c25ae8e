"""The tests: real servers, no mocks of Redis. What they share is in tests/support."""
