"""Is all well? Named checks that only look, each by itself, with what to do about what they find."""
