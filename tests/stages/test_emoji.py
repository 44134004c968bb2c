import dataclasses
import hashlib
import io
import json
import subprocess
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from stages.params import Dataset, ParamsError
from stages.sources import emoji


def entry(name, unified, category, subcategory, *short_names, tones=()):
    """An entry of emoji.json with the fields that are read: "Using the data" in the README of emoji-data 16.0.0."""
    made = {"name": name, "unified": unified, "category": category, "subcategory": subcategory, "short_names": list(short_names)}
    if tones:
        first, _, rest = unified.partition("-")
        made["skin_variations"] = {tone: {"unified": "-".join(filter(None, (first, tone, rest)))} for tone in tones}
    return made


FACTS = [
    entry("GRINNING FACE", "1F600", "Smileys & Emotion", "face-smiling", "grinning"),
    entry("WAVING HAND SIGN", "1F44B", "People & Body", "hand-fingers-open", "wave", tones=["1F3FB", "1F3FC"]),
    entry("HANDSHAKE", "1F91D", "People & Body", "hands", "handshake", tones=["1F3FF-1F3FB", "1F3FE-1F3FE"]),
    entry("THUMBS DOWN SIGN", "1F44E", "People & Body", "hand-fingers-closed", "-1", "thumbsdown"),
    entry("France Flag", "1F1EB-1F1F7", "Flags", "country-flag", "fr", "flag-fr"),
    entry("MAP OF JAPAN", "1F5FE", "Travel & Places", "place-other", "japan"),
    entry("EMOJI MODIFIER FITZPATRICK TYPE-6", "1F3FF", "Component", "skin-tone", "skin-tone-6"),
]
NAMES = [
    "1f600", "1f44b", "1f44b-1f3fb", "1f44b-1f3fc", "1f91d", "1f91d-1f3ff-1f3fb", "1f91d-1f3fe-1f3fe",
    "1f44e", "1f1eb-1f1f7", "1f5fe", "1f3ff",
]  # fmt: skip


def picture(*words):
    """A 4 x 4 picture with transparency, of a colour that depends on the words."""
    buffer = io.BytesIO()
    Image.new("RGBA", (4, 4), tuple(hashlib.sha256(str(words).encode()).digest()[:4])).save(buffer, "PNG")
    return buffer.getvalue()


def contents(vendor, names=NAMES):
    pack = emoji.PACKS[vendor]
    files = {"package/package.json": b"{}"}
    if pack.facts:
        files[emoji.FACTS] = json.dumps(FACTS).encode()
    return files | {f"{pack.folder}/{name}.{pack.ext}": picture(vendor, name) for name in names}


def write(path, files, odd=()):
    with tarfile.open(path, "w:gz") as tar:
        for member in odd:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


@pytest.fixture
def pin(monkeypatch):
    """A function: take the tarball that lies there for the real one."""

    def take(vendor, path):
        pack = dataclasses.replace(emoji.PACKS[vendor], sha256=hashlib.sha256(path.read_bytes()).hexdigest())
        monkeypatch.setitem(emoji.PACKS, vendor, pack)

    return take


@pytest.fixture
def packs(tmp_path, pin, monkeypatch):
    """A folder of three small tarballs, with their own pins, and neither a cache nor npm."""
    folder = tmp_path / "packs"
    folder.mkdir()
    for vendor in emoji.OPEN:
        path = folder / emoji.PACKS[vendor].file
        write(path, contents(vendor))
        pin(vendor, path)
    monkeypatch.setattr(emoji, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(emoji.shutil, "which", lambda name: None)
    return folder


def config(folder, *vendors):
    options = {"vendors": list(vendors)} if vendors else {}
    return Dataset(source="emoji", path=folder and str(folder), options=options)


def by_key(folder, *vendors):
    return {example.key: example for example in emoji.read(config(folder, *vendors))}


def test_every_vendor_and_tone_with_its_own_bytes(packs):
    examples = list(emoji.read(config(packs)))
    keys = [example.key for example in examples]
    assert len(set(keys)) == len(keys)
    assert all(key == key.lower() for key in keys)
    drawn = {f"{vendor}-{name}" for vendor in emoji.OPEN for name in NAMES}
    # the docstring says why: country flags, and medium-light skin
    assert set(keys) == drawn - {"microsoft-1f1eb-1f1f7", "microsoft-1f44b-1f3fc"}
    for example in examples:
        assert example.image == picture(*example.key.split("-", 1))


def test_captions_are_name_tone_and_the_keywords_that_add_a_word(packs):
    captions = {key.removeprefix("google-"): example.caption for key, example in by_key(packs, "google").items()}
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
    labels = {key.removeprefix("twitter-"): names[example.label] for key, example in by_key(packs, "twitter").items()}
    assert labels["1f600"] == "Smileys & Emotion"
    assert labels["1f44b-1f3fc"] == labels["1f44b"] == "People & Body"
    assert labels["1f3ff"] == "Symbols"  # emoji.json: Component
    assert not hasattr(emoji, "captions")  # they are free, not one a class


def test_order_and_split_depend_on_the_key_alone(packs, pin):
    once = list(emoji.read(config(packs)))
    assert once == list(emoji.read(config(packs, *reversed(emoji.OPEN))))
    names = [example.key.split("-", 1)[1] for example in once]
    assert names != sorted(names, key=NAMES.index)
    google = [example for example in once if example.key.startswith("google")]
    assert google == list(emoji.read(config(packs, "google")))


def test_about_an_eighth_is_held_out(tmp_path, packs, pin, monkeypatch):
    many = [entry("X", f"{n:X}", "Objects", "tool", "x") for n in range(0x1000, 0x1800)]
    monkeypatch.setitem(globals(), "FACTS", many)
    path = packs / emoji.PACKS["google"].file
    write(path, contents("google", [f"{n:x}" for n in range(0x1000, 0x1800)]))
    pin("google", path)
    counts = Counter(example.split for example in emoji.read(config(packs, "google")))
    # 12 % of 2,048 is 246 with a standard deviation of 15
    assert set(counts) == {"train", "test"}
    assert abs(counts["test"] - 246) < 4 * 15


def test_names_come_from_another_package_where_the_vendor_has_none(packs):
    assert {key.split("-")[0] for key in by_key(packs, "microsoft")} == {"microsoft"}
    (packs / emoji.PACKS["twitter"].file).unlink()
    with pytest.raises(ParamsError, match=r"has no emoji-datasource-twitter-16\.0\.0\.tgz"):
        by_key(packs, "microsoft")


def test_an_altered_tarball_is_refused_with_both_hashes(packs):
    path = packs / emoji.PACKS["google"].file
    data = path.read_bytes()
    for changed in (data[:-100], data[:200] + bytes([data[200] ^ 1]) + data[201:]):
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=r"emoji-datasource-google-16\.0\.0\.tgz: truncated or altered") as caught:
            by_key(packs)
        assert hashlib.sha256(changed).hexdigest() in str(caught.value)
        assert emoji.PACKS["google"].sha256 in str(caught.value)
        assert "\n" not in str(caught.value)


def member(name, kind=tarfile.REGTYPE, link="", size=0):
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, size
    return made


def test_odd_members_are_passed_over(packs, pin, tmp_path):
    folder = emoji.PACKS["google"].folder
    odd = [
        member("../../outside.png", size=3),
        member("/absolute.png", size=3),
        member(f"{folder}/../64/1f600.png", size=3),
        member(f"/{folder}/1f600.png", size=3),
        member(f"{folder}/1f600.png", tarfile.SYMTYPE, "/etc/passwd"),
        member(f"{folder}/1f5fe.png", tarfile.LNKTYPE, "package/package.json"),
        member(f"{folder}/1f44e.png", tarfile.DIRTYPE),
        member(f"{folder}/1f3ff.png", tarfile.FIFOTYPE),
        member(f"{folder}/unnamed.png", size=3),
        member(f"{folder}/1f44b.png", size=emoji.LARGEST_BYTES + 1),
    ]
    path = packs / emoji.PACKS["google"].file
    expected = by_key(packs, "google")
    write(path, contents("google"), odd)
    pin("google", path)
    before = sorted(tmp_path.rglob("*"))
    assert by_key(packs, "google") == expected
    assert sorted(tmp_path.rglob("*")) == before  # nothing is unpacked


def test_what_a_vendor_does_not_draw_is_left_out(packs, pin):
    path = packs / emoji.PACKS["google"].file
    write(path, contents("google", NAMES[:3]))
    pin("google", path)
    assert set(by_key(packs, "google")) == {f"google-{name}" for name in NAMES[:3]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"vendors": ["google", "nokia"]},
            r"dataset.options: vendors: 'nokia' is unknown; allowed: google, twitter, microsoft, apple, facebook",
        ),
        ({"vendors": []}, r"dataset.options: vendors: \[\] is wrong; name one or more, each once"),
        ({"vendors": ["google", "google"]}, r"dataset.options: vendors: .* is wrong; name one or more, each once"),
        ({"vendor": ["google"]}, r"dataset.options.vendor: not a key; did you mean vendors\? Allowed: vendors"),
        ({"vendors": 3}, r"dataset.options"),
    ],
)
def test_a_wrong_option_is_one_line(packs, options, message):
    wrong = Dataset(source="emoji", path=str(packs), options=options)
    for ask in (emoji.classes, lambda config: list(emoji.read(config))):
        with pytest.raises(ParamsError, match=message) as caught:
            ask(wrong)
        assert "\n" not in str(caught.value)


def test_without_npm_one_line_says_what_to_do(packs):
    with pytest.raises(ValueError, match=r"^dataset.path: null wants the npm client .*; install npm .*, or set dataset.path") as caught:
        by_key(None)
    assert "emoji-datasource-google-16.0.0.tgz" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def npm(packs, monkeypatch):
    """A function: let npm be there and do what it is told to; what was asked of it comes back."""

    def act(do):
        asked = []

        def run(command, cwd, **options):
            asked.append(command[2])
            return do(command, Path(cwd))

        monkeypatch.setattr(emoji.shutil, "which", lambda name: f"/usr/bin/{name}")
        monkeypatch.setattr(emoji.subprocess, "run", run)
        return asked

    return act


def packed(packs, cut=0):
    """What `npm pack` does: the package's tarball in the working directory."""

    def do(command, cwd):
        file = next(pack.file for pack in emoji.PACKS.values() if pack.spec == command[2])
        (cwd / file).write_bytes((packs / file).read_bytes()[cut:])
        return subprocess.CompletedProcess(command, 0, f"{file}\n", "")

    return do


def test_npm_is_asked_once_and_the_cache_then(packs, npm):
    asked = npm(packed(packs))
    first = by_key(None)
    assert asked == [emoji.PACKS[vendor].spec for vendor in emoji.OPEN]
    assert by_key(None) == first == by_key(packs)
    assert len(asked) == 3
    assert sorted(path.name for path in emoji.CACHE.iterdir()) == sorted(emoji.PACKS[vendor].file for vendor in emoji.OPEN)


def test_half_a_download_is_never_cached(packs, npm):
    npm(packed(packs, cut=9))
    with pytest.raises(ValueError, match=r"google-16\.0\.0\.tgz: truncated or altered: SHA-256 is [0-9a-f]{64}, expected"):
        by_key(None)
    assert list(emoji.CACHE.iterdir()) == []


def test_a_failed_download_is_one_line_with_npms_reason(packs, npm):
    words = (
        "npm error code ENOTFOUND\nnpm error network request to https://registry.npmjs.org/x failed\n"
        "npm error     at ClientRequest.emit (node:events:509:28)\n"
        "npm error A complete log of this run can be found in: /root/.npm/_logs/x.log\n"
    )
    npm(lambda command, cwd: subprocess.CompletedProcess(command, 1, "", words))
    with pytest.raises(ValueError, match="npm pack emoji-datasource-google@16.0.0 failed") as caught:
        by_key(None)
    assert "code ENOTFOUND; network request to https://registry.npmjs.org/x failed)" in str(caught.value)
    assert "set dataset.path to a folder with emoji-datasource-google-16.0.0.tgz" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(emoji.CACHE.iterdir()) == []


def test_a_silent_npm_is_one_line(packs, npm):
    def slow(command, cwd):
        raise subprocess.TimeoutExpired(command, emoji.NPM_SECONDS)

    npm(slow)
    with pytest.raises(ValueError, match="failed .*timed out after 900 seconds"):
        by_key(None)
    npm(lambda command, cwd: subprocess.CompletedProcess(command, 0, "", ""))
    with pytest.raises(ValueError, match=r"left no emoji-datasource-google-16\.0\.0\.tgz"):
        by_key(None)


@pytest.mark.slow
def test_the_real_packages_where_they_are_at_hand():
    missing = [pack.file for vendor, pack in emoji.PACKS.items() if vendor in emoji.OPEN and not (emoji.CACHE / pack.file).is_file()]
    if missing:
        pytest.skip(f"{missing[0]} is not in {emoji.CACHE}")
    real = Dataset(source="emoji", options={"vendors": list(emoji.OPEN)})
    examples = list(emoji.read(real))
    # tar tzf: 3,786 pictures in each of the two; 3,391 in the third: 245 country flags, 19 names that emoji.json has not, and 620
    # of medium-light or medium skin or of deaf people
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
