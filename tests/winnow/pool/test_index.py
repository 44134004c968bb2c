import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from winnow.pool import index, uids
from winnow.pool.parts import INDEX
from winnow.pool.pool import Pool


def write_index(folder, high, low):
    """An index without shards: uids of these halves, and the row's number in each of the other columns."""
    count = len(high)
    digits = np.stack([high, low], 1).astype(">u8").tobytes().hex()
    numbers = pa.array(np.arange(count))
    columns = {
        "uid": [digits[i : i + 32] for i in range(0, len(digits), 32)],
        **{name: numbers.cast(INDEX.field(name).type) for name in ("shard", "offset", "size", "label")},
    }
    folder.mkdir(exist_ok=True)
    for name, field in zip(INDEX.names, INDEX, strict=True):
        columns.setdefault(name, pa.nulls(count, field.type))
    pq.write_table(pa.table({name: columns[name] for name in INDEX.names}, INDEX), folder / "index.parquet")
    (folder / "classes.json").write_text("[]")
    return columns["uid"]


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 2)), max_size=40))
def test_rows_are_found_where_halves_of_uids_agree(drawn):
    """Oracle: the least of all rows with the uid, by rank, then row."""
    pairs, rank = [row[:2] for row in drawn], np.array([row[2] for row in drawn], np.uint8)
    high, low = (np.array([pair[i] for pair in pairs], np.uint64) for i in (0, 1))
    columns = {name: np.zeros(len(pairs), np.int64) for name in index.COPIED}
    columns |= {"high": high, "low": low, "place": np.zeros(len(pairs), np.uint32)}
    index._sort(columns, rank)
    opened = index.Index(columns)
    for row, (one, other) in enumerate(pairs):
        assert opened.uid(row) == f"{one:016x}{other:016x}"
    every = [(i, j) for i in range(5) for j in range(5)]
    found = opened.find(*(np.array([pair[i] for pair in every], np.uint64) for i in (0, 1)))
    rows = {pair: [(rank[row], row) for row, its in enumerate(pairs) if its == pair] for pair in every}
    assert found.tolist() == [min(rows[pair])[1] if rows[pair] else -1 for pair in every]


@pytest.mark.slow
def test_a_million_rows_are_open_in_less_than_64_bytes_each(tmp_path):
    """Index, rows and labels of a version of all of them, and at most twice that while they are made."""
    draw, count = np.random.default_rng(0), 1_000_000
    high, low = draw.integers(0, 2**64, (2, count), dtype=np.uint64)
    write_index(tmp_path / "pool", high, low)
    version = np.sort(np.rec.fromarrays([high, low], dtype=uids.DTYPE))
    for _ in range(2):  # the first writes the cache, the second reads it
        tracemalloc.start()
        pool = Pool.open(tmp_path / "pool", tmp_path / "cache")
        rows = pool.rows(version)
        labels = pool.index.label[rows].astype(np.int64)
        held, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert pool.index.nbytes + rows.nbytes + labels.nbytes <= 64 * count
        assert held <= 64 * count
        assert peak <= 128 * count
        assert len(list((tmp_path / "cache").iterdir())) == 1
    some = draw.integers(0, count, 50)
    assert pool.rows([pool.index.uid(row) for row in some]).tolist() == some.tolist()
    names = index.Uids(pool.index, rows)
    for i in (0, count - 1):
        assert names[i] == f"{version[i][0]:016x}{version[i][1]:016x}"
    assert labels.tolist() == np.lexsort((low, high)).tolist()


def test_a_changed_index_replaces_the_cached_one(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "CACHED_ROWS", 3)
    for count in (5, 4):
        names = write_index(tmp_path / "pool", np.arange(count) + 7 * count, np.arange(count))
        for _ in range(2):
            pool = Pool.open(tmp_path / "pool", tmp_path / "cache")
            assert pool.rows(names).tolist() == pool.index.offset.tolist() == list(range(count))
            assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_cache_that_another_process_is_writing_is_left_alone(tmp_path, monkeypatch):
    """Mended fault: whoever wrote the cache deleted the other's unfinished file, whose rename then failed."""
    monkeypatch.setattr(index, "CACHED_ROWS", 3)
    write_index(tmp_path / "pool", np.arange(5), np.arange(5))
    final = index._cached_at(tmp_path / "pool" / "index.parquet", tmp_path / "cache")
    unfinished = final.with_name(f"{final.name}.1.partial")
    unfinished.parent.mkdir()
    unfinished.write_bytes(b"")
    Pool.open(tmp_path / "pool", tmp_path / "cache")
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [final.name, unfinished.name]


@pytest.mark.parametrize("wrong", ["short", "no hex", "missing", "null"])
def test_a_damaged_index_does_not_open(tmp_path, wrong):
    write_index(tmp_path / "pool", np.arange(3), np.arange(3))
    path = tmp_path / "pool" / "index.parquet"
    table = pq.ParquetFile(path).read()
    damaged = {
        "short": table.set_column(1, "uid", pa.array(["0" * 32, "0" * 31, "0" * 32])),
        "no hex": table.set_column(1, "uid", pa.array(["0" * 32, "x" * 32, "0" * 32])),
        "missing": table.drop_columns(["uid"]),
        "null": table.set_column(2, "shard", pa.array([1, None, 2], pa.int32())),
    }
    pq.write_table(damaged[wrong], path)
    with pytest.raises(ValueError, match="no complete pool here") as caught:
        Pool.open(tmp_path / "pool")
    assert "\n" not in str(caught.value)


@st.composite
def datasets(draw):
    """For each of up to three datasets its rows (high, low, rank, label), and whether it is trusted."""
    row = st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2), st.integers(-1, 2))
    parts = draw(st.lists(st.lists(row, max_size=12), min_size=1, max_size=3))
    return parts, draw(st.lists(st.booleans(), min_size=len(parts), max_size=len(parts)))


@settings(max_examples=60, deadline=None)
@given(datasets())
def test_a_join_is_a_sort_of_all_rows(drawn):
    """Oracle: of all rows with a uid the least by the dataset's trust, its own rank, then its row."""
    parts, trusted = drawn
    made, shards, labels = [], [], []
    for number, rows in enumerate(parts):
        table = np.array(rows, np.int64).reshape(-1, 4)
        columns = {name: np.arange(len(rows)).astype(index.TYPES[name]) for name in index.COPIED}
        columns |= {"label": table[:, 3].astype(np.int32), "place": np.zeros(len(rows), np.uint32)}
        columns |= {"rank": table[:, 2].astype(np.uint8)}
        columns |= {"high": table[:, 0].astype(np.uint64), "low": table[:, 1].astype(np.uint64)}
        index._sort(columns, table[:, 2].astype(np.uint8))
        made.append(index.Index(columns))
        shards.append(100 * number)
        labels.append(np.array([10, 20, 30]) + number)
    joined = index.Index.join(made, shards, labels, trusted)
    every = [(part, at, *row) for part, rows in enumerate(parts) for at, row in enumerate(rows)]
    assert len(joined) == len(every)
    assert joined.shard.tolist() == [100 * part + at for part, at, *_ in every]
    assert joined.offset.tolist() == joined.size.tolist() == [at for _, at, *_ in every]
    assert joined.label.tolist() == [-1 if row[5] < 0 else 10 + 10 * row[5] + row[0] for row in every]
    order = sorted(
        range(len(every)), key=lambda row: (*every[row][2:4], not trusted[every[row][0]], every[row][4], row)
    )
    assert joined.row.tolist() == order
    assert joined.place[joined.row].tolist() == list(range(len(every)))
    assert {name: getattr(joined, name).dtype for name in index.TYPES} == index.TYPES
    wanted = [(high, low) for high in range(4) for low in range(4)]
    found = joined.find(*(np.array([pair[half] for pair in wanted], np.uint64) for half in (0, 1)))
    least = {pair: [row for row in order if every[row][2:4] == pair] for pair in wanted}
    assert found.tolist() == [least[pair][0] if least[pair] else -1 for pair in wanted]
