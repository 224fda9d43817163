"""Write the report of an evaluation: a page with scores, mistakes and figures."""
