"""The agent: the memory of every group of a machine, always on, told to whoever scrapes it."""
