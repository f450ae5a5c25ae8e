"""Tests of the house itself: packaging, layers, documentation, the embedded server, the test tools."""
