"""Backends whose loop runs elsewhere: the kernel's own DAMON."""
