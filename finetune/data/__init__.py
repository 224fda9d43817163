"""Read labelled examples, split and batch them, check them for leakage and likely faults."""
