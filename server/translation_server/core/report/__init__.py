"""From a request log to a report card."""
