"""Read labelled examples, split them, batch them, and check them for leaks and likely faults."""
