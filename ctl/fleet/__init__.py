"""Many hosts at once: which of them, in what order, and whether they can be worked on at all."""
