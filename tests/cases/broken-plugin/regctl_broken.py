"""A command that was written for another world."""

import a_library_that_nobody_has  # noqa: F401
