"""HTTP: authentication, routes, and responses."""
