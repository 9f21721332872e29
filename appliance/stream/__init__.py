"""The WebSocket gateway: frames of devices in, the front's answers out."""
