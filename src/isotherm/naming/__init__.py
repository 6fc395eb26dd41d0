"""What memory is that the kernel has no name for: stacks, heaps of runtimes, shared memory."""
