"""Fault rules for the tests."""

DETAILS = {
    "status": {"code": 503},
    "latency": {"delay": {"kind": "fixed", "seconds": 0.3}},
    "garbage": {"size": 100},
    "drip": {"rate": 5000},
    "hang": {"seconds": 0.1},
}


def rule(kind, **details):
    return {"kind": kind} | DETAILS.get(kind, {}) | details
