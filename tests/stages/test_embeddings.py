"""Embeddings: kept once, looked up exactly, the same whoever else is in the batch; and models of three kinds that make them."""

import dataclasses

import numpy as np
import open_clip
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from stages.data.embeddings import Store, text_key
from stages.filters import vectors
from stages.params import Engine, ParamsError, Version
from stages.training import embedding
from stages.training.build import build
from stages.training.embedder import open_embedder
from stages.training.weights import save_encoder

HEX = st.text("0123456789abcdef", min_size=32, max_size=32)


@settings(max_examples=40, deadline=None)
@given(groups=st.lists(st.lists(HEX, min_size=1, max_size=8, unique=True), max_size=4), asked=st.lists(HEX, max_size=6))
def test_a_store_gives_back_what_it_was_given(tmp_path_factory, groups, asked):
    store, known = Store(tmp_path_factory.mktemp("store")), {}
    draw = np.random.default_rng(0)
    for keys in groups:
        fresh = [keys[i] for i in store.missing(keys)]
        assert fresh == [key for key in keys if key not in known]
        if fresh:
            values = draw.normal(size=(len(fresh), 3)).astype(np.float32)
            store.add(fresh, values)
            known |= dict(zip(fresh, values, strict=True))
    wanted = [*asked, *asked, *known]
    assert [wanted[i] for i in store.missing(wanted)] == [key for key in dict.fromkeys(asked) if key not in known]
    if known:
        got = store.get(list(known))
        norms = np.linalg.norm(list(known.values()), axis=1, keepdims=True)
        np.testing.assert_allclose(got, np.array(list(known.values())) / norms, atol=2e-3)  # float16
        np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)


def test_a_key_that_is_not_there_is_named(tmp_path):
    store = Store(tmp_path)
    store.add(["0" * 32], np.ones((1, 2)))
    with pytest.raises(ValueError, match="no embedding of f{32}"):
        store.get(["0" * 32, "f" * 32])


def test_half_a_part_does_not_count(tmp_path):
    store = Store(tmp_path)
    store.add(["0" * 32], np.ones((1, 2)))
    next(tmp_path.glob("*.keys.npy")).unlink()  # as a kill between its two files leaves it
    assert store.missing(["0" * 32]).tolist() == [0]


@pytest.fixture
def project(tmp_path, monkeypatch):
    for module in (embedding, __import__("stages.training.embedder", fromlist=["ROOT"])):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    return tmp_path


@pytest.fixture
def encoder(project, digits_params):
    """An untrained encoder where an arm's would lie."""
    objective = build(digits_params, "supervised", "test_resnet", 10, 0)
    save_encoder(project / "results/pretrain/arm", objective.exported(), digits_params.backbones["test_resnet"])
    return Version(model="results/pretrain/arm/model.safetensors")


def test_embeddings_do_not_depend_on_company_or_order(project, encoder, digits_pool, digits_params):
    rows = np.arange(300)
    table = digits_pool.table.take(rows)
    made = embedding.Embeddings(digits_pool, encoder, digits_params, lambda items, **_: items)
    first = vectors(made.embedding(rows, table), "embedding")
    distinct = len(set(table["uid"].to_pylist()))
    assert made.flops == distinct * made.embedder.image_flops
    alone = embedding.Work(digits_pool.folder, encoder, digits_params)([7])
    shuffled = np.random.default_rng(0).permutation(rows)
    again = embedding.Work(digits_pool.folder, encoder, digits_params)(shuffled.tolist())
    np.testing.assert_array_equal(alone[0], again[shuffled.tolist().index(7)])
    np.testing.assert_allclose(first[shuffled], again, atol=1e-3)
    assert first[7] @ alone[0] == pytest.approx(1, abs=1e-4)


def test_what_is_there_is_not_computed_again(project, encoder, digits_pool, digits_params, monkeypatch):
    rows = np.arange(20)
    table = digits_pool.table.take(rows)
    track = lambda items, **_: items  # noqa: E731
    first = embedding.Embeddings(digits_pool, encoder, digits_params, track)
    kept = first.embedding(rows, table)
    again = embedding.Embeddings(digits_pool, encoder, digits_params, track)
    monkeypatch.setattr(embedding, "embed", lambda *_: pytest.fail("computed again"))
    assert again.embedding(rows, table).equals(kept)
    assert again.flops == first.flops  # a version costs the same whatever was run before it


def test_a_two_tower_reference_embeds_captions_in_the_space_of_its_pictures(project, digits_pool, digits_params):
    recipe = dataclasses.replace(digits_params.methods["supervised"], settings={})
    reference = dataclasses.replace(digits_params.reference, backbone="test_resnet")
    params = dataclasses.replace(digits_params, methods={**digits_params.methods, "clip": recipe}, reference=reference)
    objective = build(params, "clip", "test_resnet", 10, 0).eval()
    folder = project / "results/reference/models/clip"
    folder.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in objective.state_dict().items()}, folder / "method.safetensors")
    (folder / "reference.json").write_text('{"train_flops": 12}')
    version = Version(model="results/reference/models/clip")
    made = embedding.Embeddings(digits_pool, version, params, lambda items, **_: items)
    assert made.embedder.train_flops == 12
    rows = np.arange(12)
    table = digits_pool.table.take(rows)
    captions = table["caption"].to_pylist()
    captions[3] = None
    table = table.set_column(table.schema.get_field_index("caption"), "caption", [captions])
    table = made.text_embedding(rows, made.embedding(rows, table))
    texts = vectors(table, "text_embedding")
    assert not texts[3].any()
    with torch.no_grad():
        expected = objective.text(__import__("models.text", fromlist=["tokenize"]).tokenize([captions[0]], objective.config.context))[0]
    np.testing.assert_allclose(texts[0], expected.numpy(), atol=2e-3)
    assert vectors(table, "embedding").shape == texts.shape
    same = [i for i, caption in enumerate(captions) if caption == captions[0]]
    assert all((texts[i] == texts[0]).all() for i in same)


def test_weights_of_timm_and_open_clip_on_disk(project, digits_params, tmp_path):
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=7)
    save_file(model.state_dict(), tmp_path / "timm.safetensors")
    made = open_embedder(Version(model="timm.safetensors", architecture="test_resnet", image_size=32), digits_params, 10)
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    mean, std = (torch.tensor(made.module.pretrained_cfg[k])[:, None, None] for k in ("mean", "std"))
    with torch.no_grad():
        expected = model.eval().forward_head(model.forward_features((pixels / 255 - mean) / std), pre_logits=True)
        torch.testing.assert_close(made.images(pixels), expected)
    clip = open_clip.create_model("RN50", force_image_size=64).eval()
    torch.save(clip.state_dict(), tmp_path / "clip.pt")
    made = open_embedder(Version(model="clip.pt", architecture="RN50", image_size=64), digits_params, 10)
    with torch.no_grad():
        torch.testing.assert_close(made.texts(["a dog"]), clip.encode_text(open_clip.get_tokenizer("RN50")(["a dog"])))
        assert made.images(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).shape == made.texts(["a dog"]).shape
    assert made.text_flops > 0


@pytest.mark.parametrize(
    ("version", "says"),
    [
        (Version(model="nowhere"), "holds no model.safetensors"),
        (Version(model="nowhere", architecture="resnet18"), "is no file"),
        (Version(model="some", architecture="resnet17"), "known neither to timm nor to open_clip"),
        (Version(model="some", architecture="test_resnet"), "holds no weights of test_resnet"),
    ],
)
def test_a_model_that_is_none_is_one_line(version, says, project, digits_params):
    (project / "some").write_bytes(b"text")
    with pytest.raises((ValueError, ParamsError), match=says) as caught:
        open_embedder(version, digits_params, 10)
    assert "\n" not in str(caught.value)


def test_a_text_is_kept_by_its_words():
    assert text_key("a dog") != text_key("a cat")
    assert text_key("\udc80") == text_key("\udc80")  # a lone surrogate, from bytes that were no text


@pytest.mark.slow
def test_a_dask_cluster_makes_the_same_bytes(encoder, digits_pool, digits_params, monkeypatch):
    """Two worker processes, which see the project's own root, so the weights are named by their whole path."""
    version = dataclasses.replace(encoder, model=str(embedding.ROOT / encoder.model))
    monkeypatch.setattr(embedding, "CHUNK", 64)
    rows = np.arange(200)
    table, track = digits_pool.table.take(rows), lambda items, **_: items
    alone = embedding.Embeddings(digits_pool, version, digits_params, track)
    kept = alone.embedding(rows, table)
    files = {path.name: path.read_bytes() for path in alone.images.folder.iterdir()}
    assert len(files) > 4
    for path in alone.images.folder.iterdir():
        path.unlink()
    params = dataclasses.replace(digits_params, engine=Engine(cluster="local"))
    spread = embedding.Embeddings(digits_pool, version, params, track)
    assert spread.embedding(rows, table).equals(kept)
    assert {path.name: path.read_bytes() for path in spread.images.folder.iterdir()} == files
