"""The review: every label looked at, judged and corrected, on a page, in a notebook, in one file."""
