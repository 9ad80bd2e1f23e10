"""The pure part of the client: no socket, clock, randomness or thread; time and random numbers are arguments."""
