"""`check`: a dataset verified by its consumers' own rules. The rules are listed in `formats.problems`.

Readers report what they meet as they read; `images` looks at the files, `instances` at the masks.
"""

from autolabel.checks.dataset import Checked, check

__all__ = ["Checked", "check"]
