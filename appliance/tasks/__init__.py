"""One file for each kind of inference: its parameters, result, decoding and encoding."""
