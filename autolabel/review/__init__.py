"""The visual review: one front end for a page, a notebook and a file."""
