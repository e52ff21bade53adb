"""Images of every kind, and what only looks like one."""

import io
import os
import socket

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import gradsift
from gradsift.data.files import load
from gradsift.data.images import ImageFolder, image_files, open_image, to_rgb, to_tensor
from gradsift.errors import DataError
from gradsift.report.samples import render_sample

Image = pytest.importorskip("PIL.Image")


def encoded(image, form="png", **more):
    held = io.BytesIO()
    image.save(held, format=form, **more)
    return held.getvalue()


def grey(values, kind=np.uint16):
    return Image.fromarray(np.array(values, dtype=kind))


SIXTEEN = [[0, 257, 65535], [32768, 1000, 40000]]


@pytest.mark.parametrize("form", ["png", "tiff"])
def test_sixteen_bits_keep_their_range(form):
    image = open_image(encoded(grey(SIXTEEN), form))
    assert torch.allclose(to_tensor(image), torch.tensor([SIXTEEN]) / 65535, atol=1e-6)
    assert np.asarray(to_rgb(image))[:, :, 0].tolist() == [[0, 1, 255], [128, 4, 156]]
    assert "data:image/png" in render_sample(image)


def test_whole_numbers_of_32_bits_are_read_as_16_bits_or_refused():
    assert torch.allclose(to_tensor(grey(SIXTEEN, np.int32)), torch.tensor([SIXTEEN]) / 65535, atol=1e-6)
    for values in ([[0, 65536]], [[-1, 5]]):
        with pytest.raises(DataError, match=r"mode I holds .* 65535 is white: give a transform"):
            to_tensor(grey(values, np.int32))


def test_floats_between_zero_and_one_stay_and_others_are_refused():
    values = [[0.0, 0.5], [1.0, 0.25]]
    assert to_tensor(grey(values, np.float32)).tolist() == [values]
    for odd in (255.0, -0.1, float("nan"), float("inf")):
        for read in (to_tensor, to_rgb):
            with pytest.raises(DataError, match="mode F holds"):
                read(grey([[odd, 0.5]], np.float32))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I;16", "I", "F"])
def test_white_is_white_in_every_mode(mode):
    white = Image.new("L", (3, 2), 255)
    wide = {
        "I;16": ([[65535] * 3] * 2, np.uint16),
        "I": ([[65535] * 3] * 2, np.int32),
        "F": ([[1.0] * 3] * 2, np.float32),
    }
    image = grey(*wide[mode]) if mode in wide else white.convert("RGB").convert(mode)
    assert image.mode == mode
    tensor = to_tensor(image)
    assert tensor.shape[1:] == (2, 3)
    assert torch.equal(tensor, torch.ones_like(tensor))


def test_the_first_of_several_frames_counts_and_that_is_said():
    frames = [Image.new("RGB", (4, 4), (value, 0, 0)) for value in (255, 0)]
    content = encoded(frames[0], "gif", save_all=True, append_images=frames[1:])
    with pytest.warns(UserWarning, match="several frames: the first one"):
        image = open_image(content)
    assert to_tensor(image)[0].min() == 1


GOOD = encoded(Image.new("RGB", (40, 40), (9, 99, 200)))
BROKEN = {
    "empty": b"", "none": None, "text": b"words", "half": GOOD[: len(GOOD) // 2], "no content": {"path": "x.png"},
    "a path": {"bytes": None, "path": "/etc/passwd"}, "a number": 3, "flipped": GOOD[:30] + b"\xff" * 20 + GOOD[50:],
    "half jpeg": encoded(Image.effect_noise((64, 64), 90).convert("RGB"), "jpeg")[:900],
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_image_is_named(kind):
    with pytest.raises(DataError, match="the image at position 7 is no readable image"):
        open_image(BROKEN[kind], "the image at position 7")


@pytest.mark.parametrize("factor", [1.2, 3])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_decompression_bombs_are_refused(monkeypatch, factor):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(1600 / factor))
    with pytest.raises(DataError, match=r"no readable image.*(pixels|decompression bomb)"):
        open_image(GOOD)


def test_bytes_in_a_table_are_named_by_position(tmp_path):
    pq.write_table(pa.table({"image": [GOOD, b"", GOOD[:60]], "label": [0, 1, 0]}), tmp_path / "t.parquet")
    found = load(tmp_path / "t.parquet").dataset
    assert found[0][0].shape == (3, 40, 40)
    for position in (1, 2):
        with pytest.raises(DataError, match=f"image at position {position} is no readable image"):
            found[position]


@pytest.fixture
def folder(tmp_path):
    for name in ("ant", "bee"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for place in range(2):
            (tmp_path / "set" / name / f"{place}.png").write_bytes(GOOD)
    return tmp_path / "set"


def make_odd(folder, kind):
    place = folder / "ant" / "odd.png"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    elif kind == "dangling link":
        place.symlink_to("absent.png")
    elif kind == "circle":
        place.symlink_to(place)
    elif kind == "device":
        place.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as server:
            os.chdir(place.parent)
            server.bind(place.name)


@pytest.mark.parametrize("kind", ["pipe", "folder", "dangling link", "circle", "device", "socket"])
def test_what_is_named_like_an_image_and_is_no_file_is_left_out_with_a_warning(
    folder, kind, caplog, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    make_odd(folder, kind)
    files, labels, _ = image_files(folder)
    assert [file.name for file in files] == ["0.png", "1.png"] * 2
    assert labels.tolist() == [0, 0, 1, 1]
    assert "1 entries of" in caplog.text
    assert "odd.png" in caplog.text


def test_images_below_a_folder_that_is_named_like_one_count(folder):
    (folder / "ant" / "odd.png").mkdir()
    (folder / "ant" / "odd.png" / "2.png").write_bytes(GOOD)
    assert [file.name for file in image_files(folder)[0]][:3] == ["0.png", "1.png", "2.png"]


def test_empty_files_are_refused_before_the_first_gradient(folder):
    (folder / "bee" / "empty.png").touch()
    with pytest.raises(DataError, match=r"1 images are empty or may not be read.*empty\.png"):
        load(folder)


def test_a_broken_file_and_one_that_is_gone_are_named(folder):
    found = load(folder).dataset
    found.files[1].write_bytes(GOOD[:50])
    with pytest.raises(DataError, match=r"1\.png is no readable image"):
        found[1]
    found.files[2].unlink()
    with pytest.raises(DataError, match=r"0\.png cannot be read \(No such file"):
        found[2]
    os.mkfifo(found.files[2])
    with pytest.raises(DataError, match=r"0\.png is no regular file"):
        found[2]
    found.files[0].write_bytes(encoded(grey([[2.0]], np.float32), "tiff"))
    with pytest.raises(DataError, match=r"0\.png: an image of the mode F"):
        found[0]


@pytest.mark.parametrize("name", ["odd\udcff", "new\nline", "\x1b[31m", "\u202egnp"])
def test_classes_whose_names_no_table_or_terminal_can_show_are_refused(folder, name):
    (folder / name).mkdir()
    with pytest.raises(DataError, match="hold unprintable characters: rename them"):
        load(folder)


def test_files_of_any_name_are_read(folder):
    for name in ("odd\udcff.png", "new\nline.png"):
        (folder / "ant" / name).write_bytes(GOOD)
    assert len([image for image, _ in load(folder).dataset]) == 6


def test_sixteen_bits_reach_a_models_processor_with_their_range():
    seen = []

    def processor(image, return_tensors):
        seen.append(np.asarray(image))
        return {"pixel_values": torch.zeros(1, 3, 2, 3)}

    rows = [{"image": encoded(grey(SIXTEEN)), "label": 0}, {"image": grey([[7.0]], np.float32), "label": 0}]
    train_set = gradsift.ImageSet(rows, processor)
    train_set[0]
    assert seen[0][:, :, 0].tolist() == [[0, 1, 255], [128, 4, 156]]
    with pytest.raises(DataError, match="column 'image' at position 1: an image of the mode F"):
        train_set[1]


def test_a_folder_may_be_named_by_a_text_and_must_be_there(folder):
    assert len(ImageFolder(str(folder))) == len(ImageFolder(folder)) == 4
    with pytest.raises(
        DataError, match=r"there is no folder .*absent: give one that holds a folder of images for each class"
    ):
        ImageFolder(folder / "absent")
