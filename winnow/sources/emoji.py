"""Emoji: some 1,900 concepts and their skin tones, drawn by several vendors; free captions, 9 categories.

From npm, by `npm pack`: emoji-datasource-{google,twitter,apple,facebook} 16.0.0 (C. Henderson,
github.com/iamcal/emoji-data; names, categories and code under MIT), 64 x 64 png, and @lobehub/fluent-emoji-3d
1.1.0 (github.com/lobehub/fluent-emoji), 256 x 256 webp. Names, short names and categories come from the
emoji.json that the four contain alike. Checksum: SHA-256 of each tarball in `PACKS`, taken when its SHA-512
was the one in npm's registry; a file that differs is refused. The drawings' licences:

    google      3,786   Noto Emoji 2.048: Apache-2.0 (its fonts: OFL-1.1)
    twitter     3,786   Twemoji 16.0.1: CC BY 4.0, (c) Twitter, Inc. and other contributors
    microsoft   2,507   Fluent Emoji 3D: MIT, (c) Microsoft. Left out of the package: country flags, because
                        Microsoft publishes none (github.com/microsoft/fluentui-emoji, issue 25); medium-light
                        and medium skin tones, which are exchanged in 288 of 297 emoji, by their brightness;
                        deaf man and woman, exchanged too
    apple       3,783   proprietary, (c) Apple Inc.: for research on your own machine, not to be passed on
    facebook    3,645   proprietary, (c) Facebook, Inc., without clear terms: likewise

`dataset.options.vendors` chooses; the openly licensed three are the default. OpenMoji (CC BY-SA 4.0) is not
here: its npm package holds SVG only. EmojiOne and JoyPixels have terms of their own.

The tarballs are taken from `dataset.path`, and nothing else where it is given; else from
.winnow/downloads/emoji, or once from npm. Pictures are read from the stream by the exact names that
emoji.json gives; nothing is unpacked.

Keys are VENDOR-CODEPOINTS in lower case. About 12 % are the test split, by a hash of the key: of the default
vendors' test pictures, 96 % show what a train picture of another vendor shows, down to the skin tone. So the
test is a known concept in an unseen drawing, not an unknown concept. The order is that of another hash of the
key, the same everywhere: neighbours are unrelated, which corruption needs to give a picture the caption of
another. Captions are free: the name, the skin tone, then what short names and subcategory add. The five skin
tone swatches of emoji.json's category Component count as Symbols.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from winnow.config.datasets import Dataset
from winnow.config.errors import ParamsError
from winnow.config.parse import plugin_config
from winnow.ingest.example import Example
from winnow.pipeline.workspace import Workspace
from winnow.pool import uids
from winnow.sources.formats import npm, splits

LARGEST_BYTES = 1_000_000  # of a picture; the largest of the five packages has 29 kB
TEST_FRACTION = 0.12
FACTS = "package/emoji.json"
FACTS_BYTES = 10_000_000
CATEGORIES = [
    "Activities",
    "Animals & Nature",
    "Flags",
    "Food & Drink",
    "Objects",
    "People & Body",
    "Smileys & Emotion",
    "Symbols",
    "Travel & Places",
]
TONES = {
    "1F3FB": "light",
    "1F3FC": "medium-light",
    "1F3FD": "medium",
    "1F3FE": "medium-dark",
    "1F3FF": "dark",
}


@dataclass(frozen=True)
class Pack(npm.Package):
    """A vendor's npm package, and where its pictures lie; `without` names subcategories and code points."""

    folder: str
    ext: str = "png"
    facts: bool = True  # contains emoji.json
    without: frozenset[str] = frozenset()


def _datasource(vendor: str, sha256: str) -> Pack:
    name = f"emoji-datasource-{vendor}"
    return Pack(f"{name}@16.0.0", f"{name}-16.0.0.tgz", sha256, f"package/img/{vendor}/64")


PACKS = {
    "google": _datasource("google", "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438"),
    "twitter": _datasource("twitter", "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877"),
    "microsoft": Pack(
        "@lobehub/fluent-emoji-3d@1.1.0",
        "lobehub-fluent-emoji-3d-1.1.0.tgz",
        "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
        "package/assets",
        ext="webp",
        facts=False,
        without=frozenset({"country-flag", "1f3fc", "1f3fd", "1f9cf"}),
    ),
    "apple": _datasource("apple", "b34d1665e136f163b0d4433318df151895b785186e8c729b2211b43017945075"),
    "facebook": _datasource("facebook", "017038cf5a4e7fcf03dd9133cbed43d4c281c4b3ce7b927c7160261b92b8821e"),
}
OPEN = ("google", "twitter", "microsoft")


@dataclass
class Config:
    """`vendors`: whose drawings to take."""

    vendors: list[str] = field(default_factory=lambda: list(OPEN))

    def __post_init__(self) -> None:
        unknown = [name for name in self.vendors if name not in PACKS]
        if unknown:
            raise ValueError(f"vendors: {unknown[0]!r} is unknown; allowed: {', '.join(PACKS)}")
        if not self.vendors or len(set(self.vendors)) < len(self.vendors):
            allowed = f"name one or more, each once: {', '.join(PACKS)}"
            raise ValueError(f"vendors: {self.vendors} is wrong; {allowed}")


@dataclass(frozen=True)
class _Drawing:
    """What emoji.json says of a picture, whatever the vendor."""

    name: str  # of the file and in the key: code points in lower case
    caption: str
    label: int
    subcategory: str


def classes(config: Dataset) -> list[str]:
    """emoji.json's categories, sorted, without Component.

    Raises:
        ParamsError: for a wrong `dataset.options`.
    """
    _vendors(config)
    return list(CATEGORIES)


def read(config: Dataset) -> Iterator[Example]:
    """Yield every picture of the chosen vendors; to shuffle them, all are in memory, 40 MB for three vendors.

    Raises:
        ValueError: if a tarball cannot be had, or differs from its checksum.
    """
    vendors = _vendors(config)
    facts = next((vendor for vendor in vendors if PACKS[vendor].facts), "twitter")
    places = {vendor: locate(config, PACKS[vendor]) for vendor in dict.fromkeys([*vendors, facts])}
    drawings = _drawings(_facts(places[facts], PACKS[facts]))
    examples = [example for vendor in vendors for example in _examples(vendor, places[vendor], drawings)]
    yield from sorted(examples, key=lambda example: (uids.fraction("order", example.key), example.key))


def locate(config: Dataset, pack: Pack) -> Path:
    """The package's tarball, not yet checked, downloaded if it is not on this machine.

    Raises:
        ValueError: in one line, with what to do.
    """
    if config.path is not None:
        given = Path(config.path).expanduser() / pack.file
        if not given.is_file():
            mend = "put it there, or set null for npm to fetch it"
            raise ParamsError(f"dataset.path: {config.path!r} has no {pack.file}; {mend}")
        return given
    downloads = Workspace.find().downloads / "emoji"
    if not (downloads / pack.file).is_file():
        npm.fetch(pack, downloads, "emoji")
    return downloads / pack.file


def _vendors(config: Dataset) -> list[str]:
    options: Config = plugin_config(Config, "dataset.options", config.options)
    return options.vendors


def _facts(path: Path, pack: Pack) -> list[dict[str, Any]]:
    found = npm.members(path, pack, {FACTS}, FACTS_BYTES)
    if FACTS not in found:
        raise ValueError(f"{path}: contains no {FACTS}; replace or delete it")
    facts: list[dict[str, Any]] = json.loads(found[FACTS])
    return facts


def _drawings(facts: list[dict[str, Any]]) -> list[_Drawing]:
    """A drawing for each emoji, and for each of its skin tones."""
    found = []
    for entry in facts:
        label = CATEGORIES.index("Symbols" if entry["category"] == "Component" else entry["category"])
        tones = {tone: variation["unified"] for tone, variation in entry.get("skin_variations", {}).items()}
        for tone, unified in {"": entry["unified"], **tones}.items():
            found.append(_Drawing(unified.lower(), _caption(entry, tone), label, entry["subcategory"]))
    return found


def _examples(vendor: str, path: Path, drawings: list[_Drawing]) -> Iterator[Example]:
    pack = PACKS[vendor]
    wanted = {
        f"{pack.folder}/{drawing.name}.{pack.ext}": drawing
        for drawing in drawings
        if not pack.without & {drawing.subcategory, *drawing.name.split("-")}
    }
    images = npm.members(path, pack, wanted.keys(), LARGEST_BYTES)
    for name, drawing in wanted.items():
        if name in images:  # no vendor draws them all
            key = f"{vendor}-{drawing.name}"
            split = splits.by_hash(key, TEST_FRACTION)
            yield Example(key, images[name], split, drawing.label, drawing.caption)


def _caption(entry: dict[str, Any], tones: str) -> str:
    """Name, skin tone (early, because a text tower cuts long texts), and each keyword that adds a word."""
    parts = [entry["name"].lower()]
    if tones:
        words = list(dict.fromkeys(TONES[tone] for tone in tones.split("-")))
        parts.append(f"{' and '.join(words)} skin tone{'s' if len(words) > 1 else ''}")
    for keyword in (*entry["short_names"], entry["subcategory"]):
        words = [word for word in _words(keyword) if word != "other"]  # place-other
        if not set(words) <= set(_words(" ".join(parts))):
            parts.append(" ".join(words))
    return ", ".join(parts)


def _words(text: str) -> list[str]:
    """Lower-case words; `_` and `-` separate them, but +1 and -1 stay."""
    return re.findall(r"(?<!\w)[+-]\d+|\w+", text.lower().replace("_", " "))
