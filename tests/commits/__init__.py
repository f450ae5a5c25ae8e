"""Commits, drafts, transactions and locks on real servers."""
