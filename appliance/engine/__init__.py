"""The parent side of the hosts: start, supervise, route, limit."""
