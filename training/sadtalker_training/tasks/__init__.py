"""The parts of the demo that are trained separately: their batches, their losses, their figures."""
