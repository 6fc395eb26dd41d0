"""A workload whose accesses are known, and the live picture that `isotherm demo` draws of it."""
