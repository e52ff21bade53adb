"""Tables with odd columns, and what each format can get wrong by itself."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from chaos.input_files import FEATURES, LABELS, RIGHT, read
from chaos.inputs import ANY, REFUSED, Input

A, B = ([row[place] for row in FEATURES] for place in (0, 1))
WORDS = [("ash", "birch", "cedar")[label] for label in LABELS]
NAN = float("nan")


def columns() -> dict[str, tuple[dict[str, Any], Any]]:
    """Name to columns and what must come of them."""
    good = {"a": A, "b": B}
    words = {"x": FEATURES, "words": WORDS}
    return {
        "as usual": (good | {"label": LABELS}, RIGHT),
        "words": (good | {"label": WORDS}, words),
        "no label": (good, REFUSED),
        "two labels": (good | {"label": LABELS, "target": LABELS}, REFUSED),
        "one label missing": (good | {"label": [None, *LABELS[1:]]}, REFUSED),
        "one word missing": (good | {"label": [None, *WORDS[1:]]}, REFUSED),
        "all labels missing": (good | {"label": [None] * 8}, REFUSED),
        "labels that are bool": (good | {"label": [True, False] * 4}, {"labels": [1, 0] * 4}),
        "labels that are float": (good | {"label": [float(one) for one in LABELS]}, {"labels": LABELS}),
        "labels of lists": (good | {"label": [[one] for one in LABELS]}, REFUSED),
        "labels of dicts": (good | {"label": [{"a": one} for one in LABELS]}, REFUSED),
        "labels with spaces": (good | {"label": [f" {one}" for one in WORDS]}, {"words": [f" {one}" for one in WORDS]}),
        "labels with accents": (good | {"label": ["é", "e\u0301"] * 4}, {"words": ["é", "e\u0301"] * 4}),
        "labels that look like numbers": (good | {"label": ["01", "1", "10", "1", "01", "10", "1", "10"]}, ANY),
        "features with NaN": ({"a": [NAN, *A[1:]], "b": B, "label": LABELS}, {"x": [[NAN, B[0]], *FEATURES[1:]]}),
        "features missing": ({"a": [None, *A[1:]], "b": B, "label": LABELS}, {"x": [[NAN, B[0]], *FEATURES[1:]]}),
        "features of text": ({"a": [f"n{one}" for one in A], "b": B, "label": LABELS}, {"x": [[one] for one in B]}),
        "features of lists": ({"a": [[one] for one in A], "b": B, "label": LABELS}, ANY),
        "features that are bool": ({"a": [one > 3 for one in A], "b": B, "label": LABELS}, ANY),
        "features of text alone": ({"a": WORDS, "label": LABELS}, REFUSED),
        "large whole numbers": ({"a": [2**60 + place for place in range(8)], "b": B, "label": LABELS}, ANY),
        "no rows": ({"a": [], "b": [], "label": []}, REFUSED),
        "one row": ({"a": A[:1], "b": B[:1], "label": LABELS[:1]}, {"x": FEATURES[:1], "labels": LABELS[:1]}),
        "an id": (good | {"id": list("abcdefgh"), "label": LABELS}, RIGHT),
        "an id of numbers": (good | {"id": list(range(8)), "label": LABELS}, RIGHT),
        "a column [bold]": (good | {"[bold]": A, "label": LABELS}, {"labels": LABELS}),
        "a column without a name": (good | {"": A, "label": LABELS}, {"labels": LABELS}),
        "a column of control characters": (good | {"\x1b[31m": A, "label": LABELS}, {"labels": LABELS}),
        "300 columns": ({f"c{place}": A for place in range(300)} | {"label": LABELS}, {"labels": LABELS}),
        "label in capitals": (good | {"LABEL": LABELS}, RIGHT),
        "nothing but labels": ({"label": LABELS}, REFUSED),
    }  # fmt: skip


CSV = {
    "byte-order mark": ("\ufeffa,b,label\n1,2,0\n3,4,1\n", {"x": [[1, 2], [3, 4]], "labels": [0, 1]}),
    "byte-order mark before the label": ("\ufefflabel,a\n0,1\n1,2\n", {"x": [[1], [2]], "labels": [0, 1]}),
    "semicolons": ("a;b;label\n1;2;0\n3;4;1\n", {"x": [[1, 2], [3, 4]], "labels": [0, 1]}),
    "tabs": ("a\tb\tlabel\n1\t2\t0\n3\t4\t1\n", {"x": [[1, 2], [3, 4]], "labels": [0, 1]}),
    "decimal commas": ("a;label\n1,5;0\n2,5;1\n", {"x": [[1.5], [2.5]], "labels": [0, 1]}),
    "spaces in the header": ("a, b, label\n1,2,0\n3,4,1\n", {"x": [[1, 2], [3, 4]], "labels": [0, 1]}),
    "spaces in the cells": ("a,b,label\n 1, 2, 0\n 3, 4, 1\n", {"x": [[1, 2], [3, 4]], "labels": [0, 1]}),
    "the same name twice": ("a,a,label\n1,2,0\n3,4,1\n", {"x": [[1, 2], [3, 4]], "labels": [0, 1]}),
    "label twice": ("a,label,label\n1,0,1\n3,1,0\n", REFUSED),
    "no header": ("1,2,0\n3,4,1\n", REFUSED),
    "header alone": ("a,b,label\n", REFUSED),
    "more cells in a row": ("a,b,label\n1,2,0\n3,4,1,9\n", REFUSED),
    "fewer cells in a row": ("a,b,label\n1,2,0\n3,4\n", REFUSED),
    "a trailing comma": ("a,b,label,\n1,2,0,\n3,4,1,\n", {"labels": [0, 1]}),
    "CR LF": ("a,b,label\r\n1,2,0\r\n3,4,1\r\n", {"x": [[1, 2], [3, 4]], "labels": [0, 1]}),
    "CR alone": ("a,b,label\r1,2,0\r3,4,1\r", {"x": [[1, 2], [3, 4]], "labels": [0, 1]}),
    "no last newline": ("a,b,label\n1,2,0\n3,4,1", {"x": [[1, 2], [3, 4]], "labels": [0, 1]}),
    "an empty line": ("a,b,label\n1,2,0\n\n3,4,1\n", {"x": [[1, 2], [3, 4]], "labels": [0, 1]}),
    "an empty line of one column": ("label\n0\n\n1\n", REFUSED),
    "quoted numbers": ('a,b,label\n"1","2","0"\n"3","4","1"\n', {"x": [[1, 2], [3, 4]], "labels": [0, 1]}),
    "lines in quotes": ('a,t,label\n1,"x\ny",0\n3,"z",1\n', {"x": [[1], [3]], "labels": [0, 1]}),
    "an open quote": ('a,b,label\n1,"2,0\n3,4,1\n', REFUSED),
    "thousands": ('a,label\n"1,000",0\n"2,000",1\n', {"x": [[1000], [2000]], "labels": [0, 1]}),
    "words for missing labels": ("a,label\n1,NA\n2,ash\n3,birch\n", ANY),
    "an empty label": ("a,label\n1,\n2,ash\n3,birch\n", REFUSED),
    "NaN as a label": ("a,label\n1,nan\n2,1\n", REFUSED),
    "numbers and words": ("a,label\n1,0\nx,1\n", REFUSED),
    "a NUL": ("a,label\n1,0\n2\0,1\n", REFUSED),
    "comments": ("# made by x\na,label\n1,0\n2,1\n", REFUSED),
}
CODES = {
    "latin-1": "a,label\n1,snö\n2,gräs\n".encode("latin-1"), "utf-16": "a,label\n1,0\n2,1\n".encode("utf-16"),
    "utf-32": "a,label\n1,0\n2,1\n".encode("utf-32"), "cp1252": "a,label\n1,“x”\n2,y\n".encode("cp1252"),
}  # fmt: skip
ROW0, ROW1 = '{"a": 1, "label": 0}', '{"a": 2, "label": 1}'
TWO = {"x": [[1], [2]], "labels": [0, 1]}
JSON = {
    "an empty line": (f"{ROW0}\n\n{ROW1}\n", TWO),
    "no last newline": (f"{ROW0}\n{ROW1}", TWO),
    "CR LF": (f"{ROW0}\r\n{ROW1}\r\n", TWO),
    "byte-order mark": (f"\ufeff{ROW0}\n{ROW1}\n", TWO),
    "an object over two lines": (f'{{"a": 1,\n"label": 0}}\n{ROW1}\n', TWO),
    "two objects on a line": (f"{ROW0} {ROW1}\n", TWO),
    "an array of objects": (f"[{ROW0}, {ROW1}]\n", REFUSED),
    "arrays": ("[1, 0]\n[2, 1]\n", REFUSED),
    "a comma after each": (f"{ROW0},\n{ROW1},\n", REFUSED),
    "a cut line": (f"{ROW0}\n{ROW1[:-5]}\n", REFUSED),
    "a key twice": ('{"a": 1, "a": 9, "label": 0}\n' + ROW1 + "\n", ANY),
    "a missing label": ('{"a": 1}\n' + ROW1 + "\n", REFUSED),
    "a missing feature": ('{"label": 0}\n' + ROW1 + "\n", {"x": [[NAN], [2]], "labels": [0, 1]}),
    "NaN": ('{"a": NaN, "label": 0}\n' + ROW1 + "\n", {"x": [[NAN], [2]], "labels": [0, 1]}),
    "numbers and text": ('{"a": "1", "label": 0}\n' + ROW1 + "\n", REFUSED),
    "a large number": ('{"a": 1e400, "label": 0}\n' + ROW1 + "\n", ANY),
    "U+2028 in a text": ('{"a": 1, "t": "x\u2028y", "label": 0}\n' + ROW1 + "\n", TWO),
    "a lone surrogate": ('{"a": 1, "t": "\\ud800", "label": 0}\n' + ROW1 + "\n", ANY),
    "null": (f"null\n{ROW0}\n{ROW1}\n", REFUSED),
    "deep": ("[" * 5000 + "\n", REFUSED),
}


def cases() -> list[Input]:
    """Every format with every table, and each format's own."""
    found = []
    for kind in ("csv", "parquet", "jsonl"):
        for name, (table, expected) in columns().items():
            as_text = kind == "csv" and name in ("labels of lists", "labels of dicts")
            found.append(Input(f"{kind}: {name}", partial(_table, kind, table), ANY if as_text else expected))
    found += [Input(f"csv: {name}", partial(_text, "csv", text), expected) for name, (text, expected) in CSV.items()]
    found += [Input(f"csv: {name}", partial(_bytes, code), ANY) for name, code in CODES.items()]
    for name, (text, expected) in JSON.items():
        found.append(Input(f"jsonl: {name}", partial(_text, "jsonl", text), expected))
        found.append(Input(f"trim jsonl: {name}", partial(_trimmed, text), ["second"]))
    found += [Input(f"npz: {name}", partial(_npz, arrays), expected) for name, (arrays, expected) in npz().items()]
    found += [Input(f"parquet: {name}", partial(_arrow, name), expected) for name, expected in ARROW.items()]
    return found


def npz() -> dict[str, tuple[dict[str, Any], Any]]:
    """Name to arrays and what must come of them."""
    x, y = np.array(FEATURES), np.array(LABELS)
    return {
        "big-endian": ({"x": x.astype(">f8"), "label": y.astype(">i8")}, RIGHT),
        "half precision": ({"x": x.astype(np.float16), "label": y}, RIGHT),
        "Fortran's order": ({"x": np.asfortranarray(x), "label": y}, RIGHT),
        "small whole labels": ({"x": x, "label": y.astype(np.uint8)}, RIGHT),
        "large unsigned labels": ({"x": x, "label": y.astype(np.uint64)}, RIGHT),
        "words of bytes": ({"x": x, "label": np.array(WORDS, "S5")}, {"words": WORDS}),
        "words": ({"x": x, "label": np.array(WORDS)}, {"words": WORDS}),
        "objects": ({"x": x, "label": np.array(WORDS, object)}, REFUSED),
        "complex": ({"x": x + 1j, "label": y}, ANY),
        "dates": ({"x": x, "label": y.astype("datetime64[D]")}, REFUSED),
        "records": ({"x": np.zeros(8, [("a", "f4")]), "label": y}, REFUSED),
        "lengths": ({"x": x[:7], "label": y}, REFUSED),
        "no label": ({"x": x, "z": y}, REFUSED),
        "no inputs": ({"label": y}, REFUSED),
        "two inputs": ({"a": x, "b": x, "label": y}, REFUSED),
        "a number": ({"x": np.float64(3), "label": y}, REFUSED),
        "empty": ({"x": x[:0], "label": y[:0]}, REFUSED),
        "labels NaN": ({"x": x, "label": np.array([NAN] * 8)}, ANY),
        "a path as name": ({"x": x, "label": y, "../evil": y}, ANY),
    }


ARROW = {"dictionary": {"words": WORDS}, "large text": {"words": WORDS}, "decimal": RIGHT, "timestamps": ANY,
         "duplicate": ANY,
         "half precision": RIGHT, "text view": {"words": WORDS}, "timestamp labels": REFUSED}  # fmt: skip


def _arrow(name: str) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    a, b, labels, words = pa.array(A), pa.array(B), pa.array(LABELS), pa.array(WORDS)
    stamps = pa.array(range(8), pa.timestamp("s"))
    table = {
        "dictionary": lambda: pa.table({"a": a, "b": b, "label": words.dictionary_encode()}),
        "large text": lambda: pa.table({"a": a, "b": b, "label": words.cast(pa.large_string())}),
        "text view": lambda: pa.table({"a": a, "b": b, "label": words.cast(pa.string_view())}),
        "decimal": lambda: pa.table({"a": a.cast(pa.decimal128(10, 3)), "b": b, "label": labels}),
        "half precision": lambda: pa.table({"a": a.cast(pa.float16()), "b": b, "label": labels}),
        "timestamps": lambda: pa.table({"a": a, "b": b, "t": stamps, "label": labels}),
        "timestamp labels": lambda: pa.table({"a": a, "b": b, "label": stamps}),
        "duplicate": lambda: pa.Table.from_arrays([a, b, labels], names=["a", "a", "label"]),
    }[name]()
    pq.write_table(table, "data.parquet")
    return read("data.parquet")


def _table(kind: str, table: dict[str, Any]) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    path = Path(f"data.{kind}")
    if kind == "parquet":
        pq.write_table(pa.table(table), path)
    elif kind == "jsonl":
        rows = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        plain = {
            name: [str(one) for one in values] if values and isinstance(values[-1], list | dict) else values
            for name, values in table.items()
        }
        pa_csv.write_csv(pa.table(plain), path)
    return read(str(path))


def _text(kind: str, text: str) -> dict[str, Any]:
    Path(f"data.{kind}").write_text(text, encoding="utf-8", newline="")
    return read(f"data.{kind}")


def _bytes(code: bytes) -> dict[str, Any]:
    Path("data.csv").write_bytes(code)
    return read("data.csv")


def _npz(arrays: dict[str, Any]) -> dict[str, Any]:
    np.savez("data.npz", **arrays)
    return read("data.npz")


def _trimmed(text: str) -> list[str]:
    """Which row is left after the first one is trimmed."""
    from gradsift.data.files import load, write_kept

    Path("data.jsonl").write_text(text, encoding="utf-8", newline="")
    load("data.jsonl")
    write_kept("data.jsonl", np.array([1]), "clean.jsonl", 2)
    left = "".join(Path("clean.jsonl").read_text(encoding="utf-8-sig").split())
    return ["second" if one["a"] == 2 else "first" for one in [json.loads(left)]]
