"""Write what a fine-tuned model gets right and wrong: a page, and its figures."""
