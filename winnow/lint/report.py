"""What `winnow lint` found, and how it finds names that occur twice."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

FIRST = 3  # names that are listed for each reason
MOST = 2_000_000  # names that are remembered: 200 MB


@dataclass
class Report:
    """How many are good, and for each reason how many are wrong and the first names. `missing` is what an
    experiment will not find; notes are no errors.
    """

    kind: str
    good: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    first: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether anything is wrong, or missing."""
        return bool(self.counts or self.missing)

    def add(self, reason: str, name: str, count: int = 1) -> None:
        """Count something that is wrong."""
        self.counts[reason] += count
        if len(self.first[reason]) < FIRST:
            self.first[reason].append(name)

    def add_file(self, reason: str, name: str, error: Exception) -> None:
        """Count a file that cannot be read."""
        self.add(reason, f"{name} ({' '.join(str(error).split())[:100]})")

    def lines(self) -> Iterator[str]:
        """What to print: the kind, the reasons, most frequent first, the notes, and the verdict."""
        yield self.kind
        for reason, count in sorted(self.counts.items(), key=lambda item: (-item[1], item[0])):
            names = ", ".join(map(_printable, self.first[reason]))
            yield f"  {count:>9,}  {reason}: {names}{', ...' if count > len(self.first[reason]) else ''}"
        yield from (f"  missing: {line}" for line in self.missing)
        yield from (f"  note: {note}" for note in self.notes)
        wrong = f", {self.counts.total():,} wrong" if self.counts else "; nothing wrong"
        yield f"  {self.good:>9,}  good{wrong}"


class Once:
    """Remembers values by name, both as 64-bit hashes, to find names that occur twice; up to `MOST` names."""

    def __init__(self) -> None:
        self._values: dict[int, int] = {}

    def differs(self, name: str, value: bytes | str) -> bool | None:
        """None for a new name, else whether its value is another than before."""
        key, digest = _digest(name), _digest(value)
        if key in self._values:
            return self._values[key] != digest
        if len(self._values) < MOST:
            self._values[key] = digest
        return None

    @property
    def full(self) -> bool:
        return len(self._values) >= MOST


def _printable(name: str) -> str:
    return name if name.isprintable() else ascii(name)[1:-1]


def _digest(data: bytes | str) -> int:
    data = data if isinstance(data, bytes) else data.encode("utf-8", "backslashreplace")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")
