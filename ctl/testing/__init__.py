"""In-memory twins of the doors to hosts and services, for tests of steps and plugins.

They keep the promises of `ctl.hosts.base.Host` and `ctl.hosts.services.Service` (one contract suite runs
on them and on the real ones), start no process and touch no file.
"""

from ctl.testing.hosts import FOREVER, MemoryHost, Program, Script
from ctl.testing.services import MemoryService
from ctl.testing.world import MemoryRun, MemoryWorld

__all__ = ["FOREVER", "MemoryHost", "MemoryRun", "MemoryService", "MemoryWorld", "Program", "Script"]
