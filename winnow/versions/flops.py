"""flops.json of a version: what curating it cost, its ancestors included; the one writer and the one reader.

Each version and each reference of this run stands there once, with its own FLOPs. So a union pays once for
an ancestor that its parts have in common, and an arm that also selects by a reference pays once for that.
"""

from dataclasses import dataclass, field
from pathlib import Path

from winnow.pipeline.files import read_json, write_json

FILE = "flops.json"


@dataclass(frozen=True)
class CurationFlops:
    """`versions` maps the version and its ancestors to what each spent beyond references, `references` a
    method to the training of its reference.
    """

    versions: dict[str, int] = field(default_factory=dict)
    references: dict[str, int] = field(default_factory=dict)

    @property
    def curate(self) -> int:
        """All of it."""
        return sum(self.versions.values()) + sum(self.references.values())

    @classmethod
    def read(cls, folder: Path) -> "CurationFlops":
        """Of the version in a folder.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: naming the file and the mend, when it holds something else.
        """
        found = read_json(folder / FILE, "make it again with: dvc repro -f refine")
        return cls(found.get("versions", {}), found.get("references", {}))

    def write(self, folder: Path) -> None:
        parts = {"versions": self.versions, "references": self.references}
        write_json(
            folder / FILE, {"curate": self.curate, **{name: part for name, part in parts.items() if part}}
        )

    def joined(self, other: "CurationFlops") -> "CurationFlops":
        """Of a union of two versions."""
        return CurationFlops(self.versions | other.versions, self.references | other.references)

    def plus(self, version: str, spent: int, method: str | None = None, trained: int = 0) -> "CurationFlops":
        """With what a further version spent, `trained` of it on the reference of a method."""
        own = {} if method is None or not trained else {method: trained}
        return CurationFlops(
            {**self.versions, version: spent - sum(own.values())}, {**self.references, **own}
        )
