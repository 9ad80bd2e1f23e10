"""Authentication: which user sent a request."""
