"""Images into samples: from folders, bytes and Pillow, by the model's own processor."""

import io

import datasets
import numpy as np
import pyarrow as pa
import pytest
import torch

import gradsift
from gradsift.data import Samples
from gradsift.errors import DataError, SettingError
from gradsift.integrations.encode_rows import encode_rows
from gradsift.integrations.images import FolderRows
from gradsift.integrations.pretrained import load_pretrained
from gradsift.integrations.rows import load_rows
from tests.support.families import BY_NAME
from tests.support.pretrained import image_processor, save

Image = pytest.importorskip("PIL.Image")

CLASSES = ["ant", "bee", "cat"]
LABEL2ID = {"cat": 0, "ant": 1, "bee": 2}
QUIET = {"detectors": "l2", "show_progress": False}


def picture(place, mode="RGB"):
    values = np.random.default_rng(place).integers(0, 255, (20, 24, 3)).astype(np.uint8)
    return Image.fromarray(values).convert(mode)


def encoded(image):
    held = io.BytesIO()
    image.save(held, format="png")
    return held.getvalue()


def forms(size=6):
    pictures, labels = [picture(place) for place in range(size)], [place % 3 for place in range(size)]
    content = [encoded(one) for one in pictures]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=CLASSES)})
    return {
        "Pillow": [{"image": one, "label": label} for one, label in zip(pictures, labels, strict=True)],
        "bytes": pa.table({"image": content, "label": labels}),
        "struct": pa.table({"image": [{"bytes": one, "path": None} for one in content], "label": labels}),
        "Dataset": datasets.Dataset.from_dict({"image": pictures, "label": labels}, features=features),
    }


@pytest.fixture
def folder(tmp_path):
    for place in range(9):
        (tmp_path / "pictures" / CLASSES[place % 3]).mkdir(parents=True, exist_ok=True)
        picture(place).save(tmp_path / "pictures" / CLASSES[place % 3] / f"{place}.png")
    return tmp_path / "pictures"


@pytest.mark.parametrize("form", ["Pillow", "bytes", "struct", "Dataset"])
def test_every_kind_of_image_is_prepared_by_the_processor(form):
    train_set = gradsift.ImageSet(forms()[form], image_processor(16))
    expected = image_processor(16)(picture(4), return_tensors="pt")["pixel_values"][0]
    assert torch.equal(train_set[4]["pixel_values"], expected)
    batch = Samples(train_set).batch([3, 4, 5])
    assert batch["pixel_values"].shape == (3, 3, 16, 16)
    assert batch["labels"].tolist() == [0, 1, 2]
    assert train_set.classes == (CLASSES if form == "Dataset" else None)


def test_classes_are_matched_by_name():
    train_set = gradsift.ImageSet(forms()["Dataset"], image_processor(16), label2id=LABEL2ID)
    assert [int(train_set[i]["labels"]) for i in range(3)] == [1, 2, 0]
    assert train_set.classes == ["cat", "ant", "bee"]


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_other_modes_become_rgb(mode):
    rows = [{"image": picture(0, mode), "label": 0}]
    assert gradsift.ImageSet(rows, image_processor(16))[0]["pixel_values"].shape == (3, 16, 16)


def test_several_labels_an_image_stay_a_row():
    rows = [{"image": picture(i), "label": [0, 1, i % 2]} for i in range(2)]
    assert Samples(gradsift.ImageSet(rows, image_processor(16))).batch([0, 1])["labels"].tolist() == [
        [0, 1, 0],
        [0, 1, 1],
    ]


def test_a_folder_gives_rows_whose_class_is_the_subfolder(folder):
    rows = load_rows(folder)
    assert isinstance(rows, FolderRows)
    assert len(rows) == 9
    assert [rows[i]["label"] for i in range(9)] == [name for name in CLASSES for _ in range(3)]
    assert np.array_equal(np.asarray(rows[1]["image"]), np.asarray(picture(3)))
    train_set = gradsift.ImageSet(rows, image_processor(16), label2id=LABEL2ID)
    assert [int(train_set[i]["labels"]) for i in (0, 3, 6)] == [1, 2, 0]
    with pytest.raises(DataError, match="words such as 'ant'"):
        gradsift.ImageSet(rows, image_processor(16))


@pytest.mark.parametrize(
    ("row", "phrase"),
    [
        ({"image": b"none", "label": 0}, "position 1.*no readable image"),
        ({"image": None, "label": 0}, "position 1 has no image in column 'image'"),
        ({"image": picture(0), "label": None}, "position 1 has no label"),
        ({"image": "a.png", "label": 0}, "position 1 holds 'a.png'.*an image is needed"),
    ],
)
def test_rows_that_hold_no_image_are_named(row, phrase):
    train_set = gradsift.ImageSet([{"image": picture(0), "label": 0}, row], image_processor(16))
    with pytest.raises(DataError, match=phrase):
        train_set[1]


def test_columns_and_processors_that_are_none_are_refused():
    with pytest.raises(DataError, match="no column 'photo': the columns are image, label"):
        gradsift.ImageSet(forms()["bytes"], image_processor(16), image="photo")
    with pytest.raises(DataError, match="no column 'kind'"):
        gradsift.ImageSet(forms()["bytes"], image_processor(16), label="kind")
    with pytest.raises(SettingError, match="the processor is a str: give the model's own, AutoImageProcessor"):
        gradsift.ImageSet(forms()["bytes"], "vit")


@pytest.mark.parametrize("family", ["vit_image", "resnet_image"])
def test_an_audit_of_images_trims_and_annotates_them(family, tmp_path):
    names = {"id2label": dict(enumerate(CLASSES)), "label2id": {name: i for i, name in enumerate(CLASSES)}}
    loaded = load_pretrained(save(tmp_path / "model", family, image_processor(16), **names))
    rows = forms(12)["Dataset"]
    train_set = encode_rows(loaded, rows, {})
    found = gradsift.audit(loaded.model, train_set, task=loaded.task, contamination=0.25, **QUIET)
    assert found.class_names == CLASSES
    assert found.details["encoding"]["processor"] == type(loaded.processor).__name__
    assert found.trim(rows)["label"][:] == [int(i) % 3 for i in found.kept]
    assert found.annotate(rows)["gradsift_score"][:] == found.table["score"].to_pylist()
    assert train_set.encoding == encode_rows(loaded, rows, {}).encoding
    one, many = (
        gradsift.audit(loaded.model, train_set, task=loaded.task, batch_size=size, **QUIET).table["score"].to_numpy()
        for size in (1, 8)
    )
    assert np.allclose(one, many, rtol=2e-4)


def test_a_folder_can_be_audited_and_trimmed(folder, tmp_path):
    model = BY_NAME["vit_image"].make()
    rows = load_rows(folder)
    train_set = gradsift.ImageSet(rows, image_processor(16), label2id=LABEL2ID)
    found = gradsift.audit(model, train_set, contamination=0.3, output=tmp_path / "run", **QUIET)
    assert "data:image/png" in (tmp_path / "run" / "report.html").read_text()
    assert [row["label"] for row in found.trim(rows)] == [rows[int(i)]["label"] for i in found.kept]
    with pytest.raises(DataError, match=r"has no columns to add to: use audit\.table"):
        found.annotate(rows)
