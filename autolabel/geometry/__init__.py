"""Masks as runs and rings: `rle` (runs), `outline` (runs to rings), `raster` (rings to runs), `overlap`."""
