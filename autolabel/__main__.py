"""`python -m autolabel` is the same as `autolabel`."""

from autolabel.cli import main

main()
