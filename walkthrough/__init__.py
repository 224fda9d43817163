"""The guided tour: chapters that run, and what reads them."""
