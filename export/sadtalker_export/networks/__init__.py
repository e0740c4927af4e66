"""SadTalker's networks in their plain form, one per file, each sized by one frozen dataclass."""
