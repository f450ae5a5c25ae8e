"""Tests of bench/: that it runs and compares what is equal."""
