"""Events while a command works, the report when it is done, and their readers."""
