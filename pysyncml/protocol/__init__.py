"""The protocol itself, as values and rules: nothing in here does input or output."""
