"""What `dataset.path` of shards may say."""

import pytest

from tests.tars import write_tar
from winnow.config.errors import ParamsError


def test_a_list_of_urls(serve, files_of, folder, tmp_path, facts):
    url = serve(files_of(folder))
    listed = f"# ours\n{url}/shards-000001.tar\n\ndir/shards-{{000002..000003}}.tar\n"
    (tmp_path / "list.txt").write_text(listed)
    assert facts(str(tmp_path / "list.txt")) == facts(str(folder))[6:]
    (folder / "list.txt").write_text("shards-000001.tar\n")  # relative to a list that is itself remote
    assert facts(url + "/list.txt") == facts(str(folder))[6:12]


def test_equal_names_in_two_folders_keep_their_keys_apart(tmp_path, read):
    for name in ("one", "two"):
        write_tar(tmp_path / name / "00000.tar", ("0.jpg", b"x"))
    keys = [example.key for example in read(str(tmp_path / "{one,two}" / "00000.tar"))]
    assert keys == ["one/00000/0", "two/00000/0"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("TMP/a-{0..9.tar", "has a brace that is not closed"),
        ("TMP/a-{0..1000001}.tar", "means more than 1,000,000 shards"),
        ("TMP/a-{0..1}.tar", "a-0.tar' is not there"),
        ("TMP/twice.txt", "dir/shards-000000.tar' is named twice"),
        (
            "http://127.0.0.1:1/dir/",
            "lists no .tar shard .*ClientConnectorError.*; give a folder that can be",
        ),
        ("nonsense://host/a/", "lists no .tar shard"),
    ],
)
def test_a_wrong_path_is_one_line(tmp_path, folder, read, path, says):
    (tmp_path / "twice.txt").write_text("dir/shards-000000.tar\ndir/shards-000000.tar\n")
    with pytest.raises(ParamsError, match=says) as caught:
        read(path.replace("TMP", str(tmp_path)))
    assert "\n" not in str(caught.value)


def test_remote_labels_need_their_names(serve, files_of, folder, read):
    write_tar(folder / "labels.tar", ("0.jpg", b"x"), ("0.cls", b"1"))
    url = serve(files_of(folder))
    says = "labels.tar has labels; put classes.json, a list of their names, beside it"
    with pytest.raises(ParamsError, match=says):
        read(url + "/labels.tar")
    (folder / "classes.json").write_text('["cat", "dog"]')
    assert [(e.label, e.image) for e in read(url + "/labels.tar")] == [(1, b"x")]
