"""The dialects that are shipped: one TOML file for each API."""
