"""All of the client's sockets, sleeps and clocks."""
