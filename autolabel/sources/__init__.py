"""Where images come from: `listing` finds them, `images` reads, fits and writes them."""
