"""The door to processes and files, here or on another machine."""
