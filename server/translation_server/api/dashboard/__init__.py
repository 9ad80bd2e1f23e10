"""The dashboard: a page that shows the caller's own sandbox, and the stream that keeps it up to date."""
