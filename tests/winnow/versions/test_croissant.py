"""croissant.json read by others: mlcroissant validates it, rdflib follows its provenance."""

import json

import mlcroissant
import pytest
from rdflib import Graph, Namespace, URIRef

from tests.versions import write_all
from winnow.pipeline.files import sha256
from winnow.versions import croissant, version

# Of rdflib and pandas, within mlcroissant.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
PROV = Namespace("http://www.w3.org/ns/prov#")


def test_mlcroissant_finds_no_error_and_the_newest_version(third):
    found = mlcroissant.Dataset(third / "croissant.json")
    assert not found.metadata.ctx.issues.errors
    assert found.metadata.conforms_to == [croissant.CONFORMS_TO] == ["http://mlcommons.org/croissant/1.1"]
    missing = {line.split('"')[1].rpartition("/")[2] for line in found.metadata.ctx.issues.warnings}
    assert missing == {"citeAs", "datePublished"}  # which only a person can say


def test_mlcroissant_reads_the_same_records_as_pyarrow(third):
    records = list(mlcroissant.Dataset(third / "croissant.json").records("reasons"))
    text = [
        {k.removeprefix("reasons/"): v.decode() if isinstance(v, bytes) else v for k, v in record.items()}
        for record in records
    ]
    assert text == version.load(third).reasons.to_pylist()


def test_mlcroissant_refuses_a_changed_file(third):
    (third / "reasons.parquet").write_bytes((third / "reasons.parquet").read_bytes() + b"x")
    with pytest.raises(mlcroissant.GenerationError, match=r"Download\(reasons.parquet\)"):
        next(iter(mlcroissant.Dataset(third / "croissant.json").records("reasons")))


def test_every_file_is_where_it_says(third):
    for part in json.loads((third / "croissant.json").read_text())["distribution"]:
        if part["@type"] == "cr:FileSet":
            assert list(third.glob(part["includes"]))
        else:
            assert sha256(third / part["contentUrl"]) == part["sha256"]


def test_what_a_person_says_of_the_source_is_passed_on(digits_pool, tmp_path):
    about = {
        "license": "https://spdx.org/licenses/CC0-1.0",
        "creator": "A",
        "url": "https://a.example/",
        "date_published": "2020-01-02",
    }
    source = {"source": "digits", "about": {**about, "cite_as": "A, 2020"}}
    write_all(tmp_path / "v", digits_pool, "v", source)
    found = mlcroissant.Dataset(tmp_path / "v/croissant.json").metadata
    assert not found.ctx.issues.errors | found.ctx.issues.warnings
    assert (found.license, found.url, found.cite_as) == ([about["license"]], about["url"], "A, 2020")


def test_rdf_leads_from_the_version_to_its_parent_source_and_steps(third):
    graph = Graph().parse(third / "croissant.json", format="json-ld")
    facts = version.load(third).lineage
    this = URIRef(f"urn:winnow:version:{facts['digest']}")
    origins = set(graph.objects(this, PROV.wasDerivedFrom))
    assert {
        URIRef(f"urn:winnow:version:{'a' * 64}"),
        URIRef(f"urn:winnow:dataset:{facts['datasets']['digits']['digest']}"),
    } < origins
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
        assert json.loads(graph.value(graph.value(place, PROV.used), PROV.value)) == {
            "seed": 3,
            **step["parameters"],
        }
        plan = graph.value(graph.value(place, PROV.qualifiedAssociation), PROV.hadPlan)
        assert plan == URIRef(f"urn:sha256:{step['code']}")
