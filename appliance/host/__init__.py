"""The child side of the engine: load a model version, decode, infer, encode."""
