"""The dialects that are shipped: one TOML file for each API, copied from the server by `make generate`."""
