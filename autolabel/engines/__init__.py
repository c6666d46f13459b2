"""How tasks are run: `local` on the threads of one machine."""
