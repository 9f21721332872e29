"""Models on disk: what a version consists of, and that it is whole."""
