"""A private inference appliance: models answer over HTTP, every answer is recorded."""

__version__ = "0.1.0"
