"""flops.json of a version: what curating it cost, its ancestors included; the one writer and the one reader.

`references` says how many of these FLOPs trained which reference of this run: an arm that also selects by
that reference does not pay for it twice.
"""

from dataclasses import dataclass, field
from pathlib import Path

from winnow.pipeline.files import read_json, write_json

FILE = "flops.json"


@dataclass(frozen=True)
class CurationFlops:
    """`curate` counts all, `references` maps a method to the part that trained its reference."""

    curate: int = 0
    references: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "CurationFlops":
        """Of the version in a folder.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: naming the file and the mend, when it holds something else.
        """
        return cls(**read_json(folder / FILE, "make it again with: dvc repro -f refine"))

    def write(self, folder: Path) -> None:
        references = {"references": self.references} if self.references else {}
        write_json(folder / FILE, {"curate": self.curate, **references})

    def joined(self, other: "CurationFlops") -> "CurationFlops":
        """Of a union of two versions; the training of a reference that made both is counted once."""
        both = sum(min(n, other.references.get(name, 0)) for name, n in self.references.items())
        references = {**self.references, **other.references}
        return CurationFlops(self.curate + other.curate - both, references)

    def plus(self, spent: int, method: str | None = None, trained: int = 0) -> "CurationFlops":
        """With what a further version spent, `trained` of it on the reference of a method."""
        trained_now = {method: trained} if method and trained else {}
        return CurationFlops(self.curate + spent, {**self.references, **trained_now})
