"""Columns of embeddings for the filters that need them, and what they add to the cost of a version."""

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from winnow.config import schema
from winnow.embedding.embeddings import Embeddings
from winnow.pipeline.workspace import Workspace
from winnow.versions import lineage
from winnow.versions.version import Version, load


def embedded_before(version: Version, workspace: Workspace) -> dict[str, set[str]]:
    """What a version and its ancestors had embedded: weights (SHA-256) -> TABLE.COLUMN."""
    embedded: dict[str, set[str]] = {}
    while parent := version.lineage.get("parent"):
        if model := version.lineage["model"]:
            embedded.setdefault(model["sha256"], set()).update(model["embedded"])
        version = load(workspace.version(parent["name"]))
    return embedded


@dataclass
class Columns:
    """Adds the columns that filters need to the tables that they get.

    `before` is `embedded_before` of the parent: those columns are paid for.
    """

    embeddings: Embeddings
    columns: list[str]
    before: dict[str, set[str]]
    embedded: list[str] = field(default_factory=list)

    def __call__(self, name: str, table: pa.Table) -> pa.Table:
        rows = table["row"].to_numpy()
        for column in self.columns:
            paid = f"{name}.{column}" in self.before.get(self.embeddings.embedder.weights, ())
            table = getattr(self.embeddings, column)(rows, table, paid)
            self.embedded.append(f"{name}.{column}")
        return table

    @property
    def flops(self) -> dict[str, int]:
        """FLOPs of the embeddings, and of training the model where no ancestor has paid for that."""
        embedder = self.embeddings.embedder
        trained = 0 if embedder.weights in self.before else embedder.train_flops
        return {"embeddings": self.embeddings.flops, "model": trained}

    def model(self, version: schema.Version) -> dict[str, Any]:
        """What lineage.json holds about the model."""
        embedder = self.embeddings.embedder
        return {
            "name": embedder.name,
            "path": lineage.portable("model", version.model),
            "architecture": version.architecture,
            "sha256": embedder.weights,
            "image_size": embedder.size,
            "store": self.embeddings.name,
            "embedded": sorted(self.embedded),
        }
