"""What checks the types of arguments in the tests: beartype, with PEP 484's rule for numbers."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float
