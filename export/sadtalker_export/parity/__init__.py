"""How every array of the reference figures is computed again: one registered function per group of arrays."""
