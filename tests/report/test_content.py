"""What a sample's input is, and how chats, sounds and signals look."""

import base64
import io
import re
import wave
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from gradsift.report import describe_sample, render_sample
from gradsift.report.content import content_of
from gradsift.report.media import HEIGHT, WIDTH

CHAT = [{"role": "user", "content": "<b>Hi"}, {"role": "assistant", "content": [{"type": "text", "text": "Ho\x1b"}]}]


@pytest.mark.parametrize(
    ("sample", "names", "form"),
    [
        ({"text": "a", "label": 1}, None, "text"),
        ({"messages": CHAT}, None, "chat"),
        ({"audio": {"array": np.zeros(80), "sampling_rate": 8000, "path": None}, "label": 1}, None, "audio"),
        ({"audio": {"array": np.zeros(80), "sampling_rate": 8000}, "file": "a.wav", "label": 1}, None, "audio"),
        ((np.zeros((1, 8, 8)), 3), None, "image"),
        ((torch.zeros(2, 400), 3), None, "signal"),
        (np.zeros((400, 12)), None, "signal"),
        (np.zeros(500), None, "signal"),
        (np.zeros(500), ["a"] * 500, "features"),
        (np.zeros(30), None, "features"),
        ({"age": 3, "pay": 2.5, "label": 0}, None, "features"),
        ({"image": {"bytes": b"no image", "path": None}, "label": 1}, None, "text"),
        ({"features": np.eye(3)[0], "node": 4, "neighbours": [1, 2], "label": 1}, None, "node"),
        ({"label": 1}, None, "text"),
    ],
)
def test_forms_of_content(sample, names, form):
    assert content_of(sample, names).form == form


def test_image_bytes_of_a_row_are_decoded():
    image = pytest.importorskip("PIL.Image")
    memory = io.BytesIO()
    image.new("RGB", (5, 4), (255, 0, 0)).save(memory, "PNG")
    for row in ({"image": {"bytes": memory.getvalue(), "path": "x"}, "label": 1}, {"image": memory.getvalue()}):
        assert content_of(row).value.shape == (4, 5, 3)
        assert "data:image/png" in render_sample(row)


def test_a_chat_shows_who_says_what():
    html = render_sample({"messages": CHAT, "label": 1})
    assert "<dt>user</dt>" in html
    assert "&lt;b&gt;Hi" in html
    assert "Ho\\x1b" in html
    assert describe_sample({"messages": CHAT}) == "user: <b>Hi / assistant: Ho\\x1b"
    assert "z" * 200 not in render_sample([{"role": "user", "content": "z" * 900}] * 4)


def test_long_texts_are_whole_where_they_are_asked_for():
    assert render_sample("z" * 5000, in_full=True).count("z") == 5000
    assert render_sample(np.arange(90.0), in_full=True).count("<tr>") == 90


def test_a_sound_is_played_and_drawn():
    tone = np.sin(np.arange(4000) / 5)
    html = render_sample({"audio": {"array": tone, "sampling_rate": 8000}, "label": 1})
    encoded = re.search(r'src="data:audio/wav;base64,([^"]+)"', html)[1]
    with wave.open(io.BytesIO(base64.b64decode(encoded))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (8000, 1, 4000)
        played = np.frombuffer(file.readframes(4000), "<i2") / 32767
    assert np.abs(played - tone).max() < 1e-4
    assert "0.5 s at 8,000 Hz" in html
    assert describe_sample({"audio": {"array": tone, "sampling_rate": 8000}}) == "sound of 0.5 s"
    long = render_sample({"array": np.zeros((2, 8000 * 60)), "sampling_rate": 8000})
    assert "60.0 s at 8,000 Hz, the first 20 s here" in long


@pytest.mark.parametrize("values", [np.sin(np.arange(5000) / 40), np.full(200, np.nan), np.r_[np.zeros(150), np.inf]])
def test_a_signal_stays_within_its_frame(values):
    svg = ElementTree.fromstring(render_sample(values))
    (line,) = svg.iter("polyline")
    points = np.array([[float(one) for one in pair.split(",")] for pair in line.get("points").split()])
    assert (points >= 0).all()
    assert (points <= [WIDTH, HEIGHT]).all()
    assert (np.diff(points[:, 0]) >= 0).all()
    assert len(points) <= 640


def test_peaks_of_a_long_signal_are_kept():
    values = np.zeros(100_000)
    values[54_321] = 1.0
    line = re.search(r'points="([^"]+)"', render_sample(values))[1]
    heights = [float(pair.split(",")[1]) for pair in line.split()]
    assert min(heights) == 3.0
    assert heights.count(3.0) == 1


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_bytes_of_a_wav_file_are_played(width):
    wanted = np.array([[0.5, -0.5, 0.25, 0.0], [0.0, 0.25, -1.0, 0.5]])
    scaled = (wanted * 2 ** (8 * width - 1)).astype(np.int64).T.reshape(-1)
    data = b"".join(int(one + 128 * (width == 1)).to_bytes(width, "little", signed=width > 1) for one in scaled)
    memory = io.BytesIO()
    with wave.open(memory, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(width)
        file.setframerate(8000)
        file.writeframes(data)
    for sample in (memory.getvalue(), {"audio": {"bytes": memory.getvalue(), "path": "a.wav"}, "label": 0}):
        content = content_of(sample)
        assert (content.form, content.rate) == ("audio", 8000)
        np.testing.assert_allclose(content.value, wanted)
        assert "<audio" in render_sample(sample)


def test_bytes_that_only_begin_as_a_wav_file_are_described():
    assert content_of(b"RIFF\x00\x00\x00\x00WAVEfmt ").form == "text"
