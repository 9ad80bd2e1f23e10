"""The pure core: jobs, faults and reports, without clock, randomness or I/O. Time and random bytes are arguments."""
