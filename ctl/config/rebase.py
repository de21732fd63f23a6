"""A text that was changed by us and then by hand, with our change taken out again. Pure."""

from __future__ import annotations

from difflib import SequenceMatcher


def without_change(original: bytes, changed: bytes, edited: bytes) -> bytes | None:
    """Return `edited` with what made `changed` out of `original` taken back; None where an edit touches that.

    Works by whole lines. The caller proves the result: making the change again must give `edited`.
    """
    before, ours, now = (text.splitlines(keepends=True) for text in (original, changed, edited))
    place = _places(ours, now)
    made: list[bytes] = []
    reached = 0  # lines of `now` that are taken over
    for tag, low, high, start, end in SequenceMatcher(None, ours, before, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        spot = _spot(place, low, high, len(ours), len(now))
        if spot is None or spot < reached:
            return None
        made += now[reached:spot]
        made += before[start:end]
        reached = spot + (high - low)
    return b"".join([*made, *now[reached:]])


def _places(ours: list[bytes], now: list[bytes]) -> dict[int, int]:
    """Return where each line of ours stands now, for those that do."""
    found = {}
    for block in SequenceMatcher(None, ours, now, autojunk=False).get_matching_blocks():
        for offset in range(block.size):
            found[block.a + offset] = block.b + offset
    return found


def _spot(place: dict[int, int], low: int, high: int, ours: int, now: int) -> int | None:
    """Return where lines low..high of ours begin now; None unless all are there, side by side."""
    if low == high:  # nothing of ours: between two lines that must still be neighbours
        left = place.get(low - 1) if low else -1
        right = place.get(low) if low < ours else now
        return right if left is not None and right is not None and right == left + 1 else None
    spots = [place.get(number) for number in range(low, high)]
    first = spots[0]
    if first is None or spots != list(range(first, first + len(spots))):
        return None
    return first
