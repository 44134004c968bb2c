import dataclasses
import hashlib
import json
from collections import Counter

import pytest
from PIL import Image

from tests.pictures import encode
from tests.tars import write_tar
from winnow.config.datasets import Dataset
from winnow.config.errors import ParamsError
from winnow.config.plugins import CODE
from winnow.pipeline.workspace import Workspace
from winnow.sources import emoji

DOWNLOADS = Workspace(CODE).downloads / "emoji"


def entry(name, unified, category, subcategory, *short_names, tones=()):
    """An entry of emoji.json with the fields that are read: "Using the data", README of emoji-data 16.0.0."""
    made = {"name": name, "unified": unified, "category": category, "subcategory": subcategory}
    made["short_names"] = list(short_names)
    if tones:
        first, _, rest = unified.partition("-")
        unified = {tone: "-".join(filter(None, (first, tone, rest))) for tone in tones}
        made["skin_variations"] = {tone: {"unified": one} for tone, one in unified.items()}
    return made


FACTS = [
    entry("GRINNING FACE", "1F600", "Smileys & Emotion", "face-smiling", "grinning"),
    entry(
        "WAVING HAND SIGN", "1F44B", "People & Body", "hand-fingers-open", "wave", tones=["1F3FB", "1F3FC"]
    ),
    entry("HANDSHAKE", "1F91D", "People & Body", "hands", "handshake", tones=["1F3FF-1F3FB", "1F3FE-1F3FE"]),
    entry("THUMBS DOWN SIGN", "1F44E", "People & Body", "hand-fingers-closed", "-1", "thumbsdown"),
    entry("France Flag", "1F1EB-1F1F7", "Flags", "country-flag", "fr", "flag-fr"),
    entry("MAP OF JAPAN", "1F5FE", "Travel & Places", "place-other", "japan"),
    entry("EMOJI MODIFIER FITZPATRICK TYPE-6", "1F3FF", "Component", "skin-tone", "skin-tone-6"),
]
NAMES = ["1f600", "1f44b", "1f44b-1f3fb", "1f44b-1f3fc", "1f91d", "1f91d-1f3ff-1f3fb", "1f91d-1f3fe-1f3fe"]
NAMES += ["1f44e", "1f1eb-1f1f7", "1f5fe", "1f3ff"]


def picture(*words):
    """A 4 x 4 picture with transparency, of a colour that depends on the words."""
    return encode(Image.new("RGBA", (4, 4), tuple(hashlib.sha256(str(words).encode()).digest()[:4])))


def contents(vendor, names=NAMES):
    pack = emoji.PACKS[vendor]
    files = {"package/package.json": b"{}"}
    if pack.facts:
        files[emoji.FACTS] = json.dumps(FACTS).encode()
    return files | {f"{pack.folder}/{name}.{pack.ext}": picture(vendor, name) for name in names}


@pytest.fixture
def pack(tmp_path, monkeypatch):
    """A function: write a vendor's tarball into the folder `packs`, and pin it in place of the real one."""

    def write(vendor, files):
        path = write_tar(tmp_path / "packs" / emoji.PACKS[vendor].file, *files.items(), mode="w:gz")
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        monkeypatch.setitem(emoji.PACKS, vendor, dataclasses.replace(emoji.PACKS[vendor], sha256=sha256))

    return write


@pytest.fixture
def packs(tmp_path, pack):
    """A folder of three small tarballs, with their own pins."""
    for vendor in emoji.OPEN:
        pack(vendor, contents(vendor))
    return tmp_path / "packs"


def config(folder, *vendors):
    options = {"vendors": list(vendors)} if vendors else {}
    return Dataset("emoji", path=folder and str(folder), options=options)


def by_key(folder, *vendors):
    return {example.key: example for example in emoji.read(config(folder, *vendors))}


def test_every_vendor_and_tone_with_its_own_bytes(packs):
    examples = list(emoji.read(config(packs)))
    keys = [example.key for example in examples]
    assert len(set(keys)) == len(keys)
    assert all(key == key.lower() for key in keys)
    drawn = {f"{vendor}-{name}" for vendor in emoji.OPEN for name in NAMES}
    # country flags, and medium-light skin: the source's docstring says why
    assert set(keys) == drawn - {"microsoft-1f1eb-1f1f7", "microsoft-1f44b-1f3fc"}
    for example in examples:
        assert example.image == picture(*example.key.split("-", 1))


def test_captions_are_name_tone_and_the_keywords_that_add_a_word(packs):
    examples = by_key(packs, "google")
    captions = {key.removeprefix("google-"): example.caption for key, example in examples.items()}
    assert captions == {
        "1f600": "grinning face, face smiling",
        "1f44b": "waving hand sign, wave, hand fingers open",
        "1f44b-1f3fb": "waving hand sign, light skin tone, wave, hand fingers open",
        "1f44b-1f3fc": "waving hand sign, medium-light skin tone, wave, hand fingers open",
        "1f91d": "handshake, hands",
        "1f91d-1f3ff-1f3fb": "handshake, dark and light skin tones, hands",
        "1f91d-1f3fe-1f3fe": "handshake, medium-dark skin tone, hands",
        "1f44e": "thumbs down sign, -1, thumbsdown, hand fingers closed",
        "1f1eb-1f1f7": "france flag, fr, country flag",
        "1f5fe": "map of japan, place",
        "1f3ff": "emoji modifier fitzpatrick type-6, skin tone 6",
    }


def test_labels_are_categories(packs):
    names = emoji.classes(config(packs))
    assert names == sorted(names)
    examples = by_key(packs, "twitter")
    labels = {key.removeprefix("twitter-"): names[example.label] for key, example in examples.items()}
    assert labels["1f600"] == "Smileys & Emotion"
    assert labels["1f44b-1f3fc"] == labels["1f44b"] == "People & Body"
    assert labels["1f3ff"] == "Symbols"  # emoji.json: Component
    assert not hasattr(emoji, "captions")  # they are free, not one a class


def test_order_and_split_depend_on_the_key_alone(packs):
    once = list(emoji.read(config(packs)))
    assert once == list(emoji.read(config(packs, *reversed(emoji.OPEN))))
    names = [example.key.split("-", 1)[1] for example in once]
    assert names != sorted(names, key=NAMES.index)
    google = [example for example in once if example.key.startswith("google")]
    assert google == list(emoji.read(config(packs, "google")))


def test_about_an_eighth_is_held_out(packs, pack):
    numbers = range(0x1000, 0x1800)
    many = [entry("X", f"{n:X}", "Objects", "tool", "x") for n in numbers]
    pack("google", contents("google", [f"{n:x}" for n in numbers]) | {emoji.FACTS: json.dumps(many).encode()})
    counts = Counter(example.split for example in emoji.read(config(packs, "google")))
    # 12 % of 2,048 is 246 with a standard deviation of 15
    assert set(counts) == {"train", "test"}
    assert abs(counts["test"] - 246) < 4 * 15


def test_names_come_from_another_package_where_the_vendor_has_none(packs):
    assert {key.split("-")[0] for key in by_key(packs, "microsoft")} == {"microsoft"}
    (packs / emoji.PACKS["twitter"].file).unlink()
    with pytest.raises(ParamsError, match=r"has no emoji-datasource-twitter-16\.0\.0\.tgz"):
        by_key(packs, "microsoft")


def test_what_a_vendor_does_not_draw_is_left_out(packs, pack):
    pack("google", contents("google", NAMES[:3]))
    assert set(by_key(packs, "google")) == {f"google-{name}" for name in NAMES[:3]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"vendors": ["google", "nokia"]},
            "vendors: 'nokia' is unknown; allowed: google, twitter, microsoft",
        ),
        ({"vendors": []}, r"vendors: \[\] is wrong; name one or more, each once"),
        ({"vendors": ["google", "google"]}, "vendors: .* is wrong; name one or more, each once"),
        ({"vendor": ["google"]}, r"vendor: not a key; did you mean vendors\? Allowed: vendors"),
        ({"vendors": 3}, ""),
    ],
)
def test_a_wrong_option_is_one_line(packs, options, message):
    wrong = Dataset("emoji", path=str(packs), options=options)
    for use in (emoji.classes, lambda config: list(emoji.read(config))):
        with pytest.raises(ParamsError, match=f"dataset.options.*{message}") as caught:
            use(wrong)
        assert "\n" not in str(caught.value)


NPM = """\
#!/bin/sh
PATH=/usr/bin:/bin
echo "$2" >> {home}/requested
case "$2" in
    @*) cp {home}/packs/lobehub-fluent-emoji-3d-*.tgz . ;;
    *) cp {home}/packs/$(echo "$2" | tr @ -).tgz . ;;
esac
"""


def test_npm_is_used_once_and_the_downloads_then(packs, tmp_path, monkeypatch):
    """A shell script in the place of npm does what `npm pack` does: the tarball, in the working directory."""
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "npm").write_text(NPM.format(home=tmp_path))
    (tmp_path / "bin" / "npm").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    first = by_key(None)
    assert by_key(None) == first == by_key(packs)
    requested = (tmp_path / "requested").read_text().splitlines()
    assert requested == [emoji.PACKS[vendor].spec for vendor in emoji.OPEN]
    names = sorted(path.name for path in (tmp_path / ".winnow/downloads/emoji").iterdir())
    assert names == sorted(emoji.PACKS[vendor].file for vendor in emoji.OPEN)


@pytest.mark.slow
def test_the_real_packages_if_they_are_on_this_machine():
    files = [pack.file for vendor, pack in emoji.PACKS.items() if vendor in emoji.OPEN]
    missing = [name for name in files if not (DOWNLOADS / name).is_file()]
    if missing:
        pytest.skip(f"{missing[0]} is not in {DOWNLOADS}")
    examples = list(emoji.read(config(DOWNLOADS, *emoji.OPEN)))
    # tar tzf: 3,786 pictures in each of the two; 3,391 in the third: 245 country flags, 19 names that
    # emoji.json lacks, and 620 of medium-light or medium skin or of deaf people
    vendors = Counter(example.key.split("-")[0] for example in examples)
    assert vendors == {"google": 3786, "twitter": 3786, "microsoft": 3391 - 245 - 19 - 620}
    assert len({example.key for example in examples}) == len(examples)
    # emoji.json: 1,911 emoji and 1,875 skin tones of theirs, no two of which are called the same
    assert len({example.caption for example in examples}) == 1911 + 1875
    assert {example.label for example in examples} == set(range(len(emoji.CATEGORIES)))
    assert all(example.caption == example.caption.lower() for example in examples)
    trained = {example.key.split("-", 1)[1] for example in examples if example.split == "train"}
    held = [example.key.split("-", 1)[1] for example in examples if example.split == "test"]
    assert 0.11 < len(held) / len(examples) < 0.13
    assert sum(name in trained for name in held) / len(held) > 0.95
