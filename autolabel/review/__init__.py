"""The review: every label looked at, judged and corrected, on a page, in a notebook, in one file."""

MOST_IN_REPORT = 200  # images, where nothing else is asked for
