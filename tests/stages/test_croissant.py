"""croissant.json read by others: mlcroissant validates it and reads its records, rdflib follows its provenance."""

import json

import mlcroissant
import numpy as np
import pytest
from rdflib import Graph, Namespace, URIRef

from stages.data import croissant, version

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of rdflib and pandas, within mlcroissant
PROV = Namespace("http://www.w3.org/ns/prov#")


@pytest.fixture
def folder(digits_pool, tmp_path):
    """data/versions/v beside data/pool, of two steps, from a parent, by a model."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/pool").symlink_to(digits_pool.folder)
    keep = np.arange(len(digits_pool)) % 4 > 0
    reason = np.full(len(digits_pool), "blank", object)
    steps = [version.taken(step, 10, []) for step in version.steps({"tiny": {"min_side": 9}, "blank": {}})]
    lineage = {
        "source": {"source": "digits", "path": None},
        "parent": {"name": "pool", "digest": "a" * 64},
        "model": {"name": "test_resnet", "sha256": "b" * 64},
        "seed": 3,
        "steps": steps,
    }
    version.write(tmp_path / "data/versions/v", "v", digits_pool, keep, reason, lineage)
    return tmp_path / "data/versions/v"


def test_mlcroissant_finds_no_error_and_the_newest_version(folder):
    found = mlcroissant.Dataset(folder / "croissant.json")
    assert not found.metadata.ctx.issues.errors
    assert found.metadata.conforms_to == [croissant.CONFORMS_TO] == ["http://mlcommons.org/croissant/1.1"]
    missing = {line.split('"')[1].rpartition("/")[2] for line in found.metadata.ctx.issues.warnings}
    assert missing == {"citeAs", "datePublished"}  # which only a person can say


def test_mlcroissant_reads_the_same_records_as_pyarrow(folder):
    records = list(mlcroissant.Dataset(folder / "croissant.json").records("reasons"))
    text = [{k.removeprefix("reasons/"): v.decode() if isinstance(v, bytes) else v for k, v in record.items()} for record in records]
    assert text == version.load(folder).reasons.to_pylist()


def test_mlcroissant_refuses_a_changed_file(folder):
    (folder / "reasons.parquet").write_bytes((folder / "reasons.parquet").read_bytes() + b"x")
    with pytest.raises(mlcroissant.GenerationError, match=r"Download\(reasons.parquet\)"):
        next(iter(mlcroissant.Dataset(folder / "croissant.json").records("reasons")))


def test_every_file_is_where_it_says(folder):
    for part in json.loads((folder / "croissant.json").read_text())["distribution"]:
        if part["@type"] == "cr:FileSet":
            assert list(folder.glob(part["includes"]))
        else:
            assert version.sha256(folder / part["contentUrl"]) == part["sha256"]


def test_what_a_person_says_of_the_source_is_passed_on(digits_pool, tmp_path):
    about = {
        "license": "https://spdx.org/licenses/CC0-1.0",
        "creator": "A",
        "url": "https://a.example/",
        "date_published": "2020-01-02",
    }
    source = {"source": "digits", "about": {**about, "cite_as": "A, 2020"}}
    lineage = {"source": source, "parent": None, "model": None, "seed": 0, "steps": []}
    every = np.ones(len(digits_pool), bool)
    version.write(tmp_path / "v", "v", digits_pool, every, np.full(len(every), None, object), lineage)
    found = mlcroissant.Dataset(tmp_path / "v/croissant.json").metadata
    assert not found.ctx.issues.errors | found.ctx.issues.warnings
    assert (found.license, found.url, found.cite_as) == ([about["license"]], about["url"], "A, 2020")


def test_rdf_leads_from_the_version_to_its_parent_source_and_steps(folder):
    graph = Graph().parse(folder / "croissant.json", format="json-ld")
    facts = version.load(folder).lineage
    this = URIRef(f"urn:winnow:version:{facts['digest']}")
    origins = set(graph.objects(this, PROV.wasDerivedFrom))
    assert {URIRef(f"urn:winnow:version:{'a' * 64}"), URIRef(f"urn:winnow:pool:{facts['pool']['digest']}")} < origins
    assert len(origins) == 3
    activity = graph.value(this, PROV.wasGeneratedBy)
    assert URIRef(f"urn:sha256:{'b' * 64}") in set(graph.objects(activity, PROV.used))
    agent = graph.value(activity, PROV.wasAssociatedWith)
    assert graph.value(agent, PROV.label).value == f"Winnow {facts['winnow']}"
    first, second = (URIRef(f"{this}:step:{place}") for place in (0, 1))
    assert set(graph.objects(activity, PROV.wasInformedBy)) == {first, second}
    assert graph.value(second, PROV.wasInformedBy) == first
    assert graph.value(first, PROV.wasInformedBy) is None
    for step, place in zip(facts["steps"], (first, second), strict=True):
        assert json.loads(graph.value(graph.value(place, PROV.used), PROV.value)) == {"seed": 3, **step["parameters"]}
        plan = graph.value(graph.value(place, PROV.qualifiedAssociation), PROV.hadPlan)
        assert plan == URIRef(f"urn:sha256:{step['code']}")
