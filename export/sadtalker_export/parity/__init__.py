"""Reference figures computed again, by one registered function per group of arrays, and compared."""
