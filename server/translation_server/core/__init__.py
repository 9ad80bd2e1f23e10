"""What is true of jobs, with no clock, no randomness and no I/O: time and random bytes are arguments."""
