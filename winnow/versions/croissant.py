"""croissant.json of a version: Croissant 1.1 with its provenance in PROV-O, written as plain JSON-LD, so that
only the tests need `mlcroissant`.

https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html, https://www.w3.org/TR/prov-o/

The version's own files and the indexes of its datasets have their SHA-256. The shards have none: an index
pins each of their images by its uid, which is the beginning of its bytes' SHA-256. Paths are those of
data/versions/NAME beside data/datasets.

Croissant requires a licence, a creator, a URL and a date of publication. Winnow knows none of them: they come
from the `about` of the datasets (`license`, `creator`, `url`, `date_published`, `cite_as`) where it is given;
otherwise whoever publishes a version must add them.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from winnow.pipeline.files import sha256

CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
DATASETS = "../../datasets"
PARQUET = "application/x-parquet"
FIELDS = {
    "key": ("sc:Text", "The running key of a row of the pool."),
    "uid": ("sc:Text", "The first 128 bits of the SHA-256 of the stored image bytes, 32 hex digits."),
    "keep": ("sc:Boolean", "Whether this version holds the row."),
    "reason": ("sc:Text", "Why it does not; empty where it does."),
}
TERMS = (
    "arrayShape citeAs column containedIn equivalentProperty extract field fileObject fileProperty fileSet "
    "format includes isArray isLiveDataset jsonPath key md5 parentField path recordSet references regex "
    "repeated replace samplingRate separator source subField transform"
)
# The context that mlcroissant 1.1 calls standard, and PROV-O.
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    **{term: f"cr:{term}" for term in TERMS.split()},
}


def metadata(folder: Path, lineage: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON-LD of the version whose files lie in `folder`; `lineage` is what lineage.json holds."""
    parent, names = lineage["parent"], "+".join(held(lineage))
    origin = f"the version {parent['name']} of {names}" if parent else names
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "@id": _version(lineage["digest"]),
        "name": f"{names}-{lineage['name']}",
        "description": (
            f"{lineage['count']} images selected from {origin}, with the reason for each that was not."
        ),
        "conformsTo": CONFORMS_TO,
        "version": f"0.0.0+{lineage['digest'][:16]}",
        **_about(lineage),
        "distribution": _distribution(folder, lineage),
        "recordSet": [_records()],
        **_provenance(lineage),
    }


def held(lineage: Mapping[str, Any]) -> dict[str, Any]:
    """The datasets that the version holds images of; all of them where it holds none."""
    datasets: dict[str, Any] = lineage["datasets"]
    return {name: one for name, one in datasets.items() if one["held"]} or datasets


def _about(lineage: Mapping[str, Any]) -> dict[str, Any]:
    """What only a person can say, where it is given; of several datasets, what each of them says."""
    digest = lineage["digest"]
    found: dict[str, Any] = {}
    abouts = {name: one["source"].get("about") or {} for name, one in held(lineage).items()}

    def said(key: str) -> list[str]:
        return list(dict.fromkeys(about[key] for about in abouts.values() if about.get(key)))

    # Croissant has one of each: all citations as a text; a date and a URL only where they are of all.
    if cited := said("cite_as"):
        found["citeAs"] = "; ".join(cited)
    for term, key in (("datePublished", "date_published"), ("url", "url")):
        if len(values := said(key)) == 1:
            found[term] = values[0]
    creators = dict.fromkeys(about["creator"] for about in abouts.values() if about.get("creator"))
    made = [{"@type": "sc:Organization", "name": name} for name in creators]
    found |= {"creator": made[0] if len(made) == 1 else made} if made else {}
    licences = [a.get("license") or f"that of its source, {name}" for name, a in abouts.items()]
    licences = list(dict.fromkeys(licences))
    found["license"] = licences[0] if len(licences) == 1 else licences
    return {"url": _version(digest), **found}


def _distribution(folder: Path, lineage: Mapping[str, Any]) -> list[dict[str, Any]]:
    own = {"uids.npy": "application/x-npy", "reasons.parquet": PARQUET, "lineage.json": "application/json"}
    files = [_file(name, name, kind, sha256(folder / name), "") for name, kind in own.items()]
    for name, one in lineage["datasets"].items():
        place = f"{DATASETS}/{one['role']}/{name}"
        text = f"Where in the shards of {name} each image lies."
        files.append(_file(f"{name}/index.parquet", f"{place}/index.parquet", PARQUET, one["digest"], text))
        files.append(
            {
                "@type": "cr:FileSet",
                "@id": f"{name}/shards",
                "name": f"{name}/shards",
                "description": "The images, as WebDataset; each is pinned by its uid in index.parquet.",
                "encodingFormat": "application/x-tar",
                "includes": f"{place}/shards/*.tar",
            }
        )
    return files


def _file(name: str, url: str, kind: str, digest: str, text: str) -> dict[str, Any]:
    about = {"description": text} if text else {}
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        **about,
        "contentUrl": url,
        "encodingFormat": kind,
        "sha256": digest,
    }


def _records() -> dict[str, Any]:
    """A record for each row of the pool."""
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"reasons/{name}",
            "name": name,
            "description": text,
            "dataType": kind,
            "source": {"fileObject": {"@id": "reasons.parquet"}, "extract": {"column": name}},
        }
        for name, (kind, text) in FIELDS.items()
    ]
    text = "Every row of the pool: whether it is held, and why not."
    return {
        "@type": "cr:RecordSet",
        "@id": "reasons",
        "name": "reasons",
        "description": text,
        "key": {"@id": "reasons/key"},
        "field": fields,
    }


def _provenance(lineage: Mapping[str, Any]) -> dict[str, Any]:
    """Derived from a source, a pool and a parent; generated by the last of a chain of steps, each informed by
    the one before it.
    """
    agent = {
        "@type": "prov:SoftwareAgent",
        "@id": f"urn:winnow:software:{lineage['winnow']}",
        "prov:label": f"Winnow {lineage['winnow']}",
    }
    parent, origins = lineage["parent"], []
    for name, one in lineage["datasets"].items():
        source = one["source"]
        label = f"source of {name}: {source['source']}"
        origins.append(_entity(_source(source), json.dumps(source, ensure_ascii=False), label))
        origins.append(_entity(f"urn:winnow:dataset:{one['digest']}", "", f"dataset {name}"))
    if parent:
        origins.append(_entity(_version(parent["digest"]), "", f"version {parent['name']}"))
    activity = {
        "@type": "prov:Activity",
        "@id": f"{_version(lineage['digest'])}:curation",
        "prov:label": f"curation of {lineage['name']}",
        "prov:wasAssociatedWith": agent,
        "prov:used": [{"@id": origin["@id"]} for origin in origins] + _model(lineage.get("model")),
        "prov:wasInformedBy": _steps(lineage, agent["@id"]),
        **_certificate(lineage),
    }
    return {
        "prov:wasDerivedFrom": origins,
        "prov:wasGeneratedBy": activity,
        "prov:wasAttributedTo": {"@id": agent["@id"]},
    }


def _certificate(lineage: Mapping[str, Any]) -> dict[str, Any]:
    """What was kept apart from which task sets, and how, where the version was made by curate."""
    if not lineage.get("guard"):
        return {}
    value = json.dumps(lineage["guard"], ensure_ascii=False)
    return {"prov:generated": {"@type": "prov:Entity", "prov:label": "leak certificate", "prov:value": value}}


def _steps(lineage: Mapping[str, Any], agent: str) -> list[dict[str, Any]]:
    """An activity for each step: its parameters are what it used, the code its plan, the step before it what
    informed it.
    """
    activities: list[dict[str, Any]] = []
    for number, step in enumerate(lineage["steps"]):
        code, label = f"urn:sha256:{step['code']}", f"code of {step['name']}"
        parameters = json.dumps({"seed": lineage["seed"], **step["parameters"]}, ensure_ascii=False)
        outcome = {"rows_in": step.get("rows_in"), "dropped": step.get("dropped")}
        dropped = json.dumps(outcome, ensure_ascii=False)
        activity = {
            "@type": "prov:Activity",
            "@id": f"{_version(lineage['digest'])}:step:{number}",
            "prov:label": step["name"],
            "prov:used": {"@type": "prov:Entity", "prov:label": "parameters", "prov:value": parameters},
            "prov:generated": {"@type": "prov:Entity", "prov:label": "verdicts", "prov:value": dropped},
            "prov:qualifiedAssociation": {
                "@type": "prov:Association",
                "prov:agent": {"@id": agent},
                "prov:hadPlan": {"@type": "prov:Plan", "@id": code, "prov:label": label},
            },
        }
        before = {"prov:wasInformedBy": {"@id": activities[-1]["@id"]}} if activities else {}
        activities.append(activity | before)
    return activities


def _model(model: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    return [_entity(f"urn:sha256:{model['sha256']}", "", f"embedding model {model['name']}")] if model else []


def _entity(name: str, value: str, label: str) -> dict[str, Any]:
    return {
        "@type": "prov:Entity",
        "@id": name,
        "prov:label": label,
        **({"prov:value": value} if value else {}),
    }


def _source(source: Mapping[str, Any]) -> str:
    return "urn:sha256:" + hashlib.sha256(json.dumps(source, sort_keys=True).encode()).hexdigest()


def _version(digest: str) -> str:
    return f"urn:winnow:version:{digest}"
