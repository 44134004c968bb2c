"""croissant.json read by others: mlcroissant validates it, rdflib follows its provenance."""

import json

import mlcroissant
import numpy as np
import pytest
from rdflib import Graph, Namespace, URIRef

from tests.versions import write_all
from winnow.pipeline.files import sha256
from winnow.pool.parts import Origin
from winnow.pool.pool import Pool
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


def test_a_version_of_two_datasets_names_both_where_it_holds_of_both(tmp_path, write, example):
    """Licences and creators are those of the datasets that it holds images of; Croissant allows one URL and
    one citation.
    """
    abouts = {
        "shop": {"license": "MIT", "creator": "A", "url": "https://a.example/", "cite_as": "A, 2020"},
        "web": {"license": "CC0", "creator": "B", "url": "https://b.example/", "cite_as": "B, 2021"},
    }
    origins = []
    (tmp_path / "datasets/pool").mkdir(parents=True)
    for first, name in enumerate(abouts):
        write(tmp_path / "datasets/pool" / name, [example(2 * first + n) for n in range(2)])
        origins.append(Origin(name, tmp_path / "datasets/pool" / name))
    pool, facts = Pool.join(origins), {"parent": None, "model": None, "seed": 0, "steps": []}
    sources = {name: {"source": "folder", "about": about} for name, about in abouts.items()}

    def written(keep):
        folder = tmp_path / "versions/v"
        version.write(folder, "v", pool, np.array(keep), np.full(4, "blank", object), facts, sources)
        return folder, mlcroissant.Dataset(folder / "croissant.json").metadata

    folder, found = written([True, False, True, True])
    assert not found.ctx.issues.errors
    assert not [line for line in found.ctx.issues.warnings if "cardinality" in line]
    assert (found.name, found.license) == ("shop+web-v", ["MIT", "CC0"])
    assert [one.name for one in found.creators] == ["A", "B"]
    parts = json.loads((folder / "croissant.json").read_text())["distribution"]
    files = [part for part in parts if part["@type"] == "cr:FileObject"]
    assert {part["@id"] for part in files} >= {"shop/index.parquet", "web/index.parquet"}
    for part in files:
        assert sha256(folder / part["contentUrl"]) == part["sha256"]
    records = mlcroissant.Dataset(folder / "croissant.json").records("reasons")
    assert [record["reasons/key"].decode() for record in records] == pool.table["key"].to_pylist()
    _, found = written([True, True, False, False])
    assert (found.name, found.license, found.url) == ("shop-v", ["MIT"], "https://a.example/")
