"""The page, read as text and looked at in Debian's Chromium."""

import re

import numpy as np
import pytest
import torch

import gradsift
from gradsift.errors import OutputError
from gradsift.evaluation import Judged, Trial, Verification
from gradsift.report import describe_sample, render_sample, write_report
from gradsift.report.plots import gradient_space, histogram
from gradsift.report.png import is_image, png_data_uri
from tests.support.browser import CHROMIUM, contrast, luminance


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report on small images with class names, one of which must be escaped, and a verification."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 40)
    images = (
        np.eye(3)[labels].repeat(12, axis=1).reshape(120, 1, 6, 6) + 0.3 * generator.random((120, 1, 6, 6))
    ).astype(np.float32)
    given = labels.copy()
    given[:10] = 1
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(model(torch.from_numpy(images)), torch.from_numpy(given))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    audit = gradsift.audit(
        model.eval(), (images, given), class_names=["<b>ash</b>", "birch", "a rather long name of a class"],
        contamination=0.1, show_progress=False,
    )  # fmt: skip
    trials = [
        Trial(arm, seed, 80 + gain + seed, 1.0, 12)
        for seed in range(3)
        for arm, gain in (("no change", 0), ("random drop", 0.5), ("drop", 2 + seed / 10), ("oracle drop", 3))
    ]
    path = tmp_path_factory.mktemp("page") / "report.html"
    return write_report(audit, path, (images, given), Verification(trials, [Judged("drop", "drop", ("random drop",))]))


def test_the_page_needs_no_network_and_escapes_names(page):
    text = page.read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", text)
    assert "http" not in text.replace("http://www.w3.org", "").replace("http-equiv", "")
    assert text.count("<script") == 2  # the list of flagged samples, and what shows it
    assert "<b>ash</b>" not in text
    assert "&lt;b&gt;ash" in text
    worst = text.partition('id="cards"')[2].partition("<h2")[0]
    assert worst.count("data:image/png;base64,") == 12
    assert "Removing 12 samples gains" in text


def test_the_same_audit_gives_the_same_page(blobs, trained, tmp_path):
    audit = gradsift.audit(trained, blobs[:2], show_progress=False)
    assert audit.report(tmp_path / "a.html").read_bytes() == audit.report(tmp_path / "b.html").read_bytes()


def test_a_page_without_the_data_set(blobs, trained, tmp_path):
    gradsift.audit(trained, blobs[:2], output=tmp_path / "run", show_progress=False)
    text = gradsift.Audit.open(tmp_path / "run").report(tmp_path / "page.html").read_text()
    assert "without a preview" in text


def test_a_page_that_cannot_be_written_says_so(blobs, trained, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        gradsift.audit(trained, blobs[:2], show_progress=False).report(tmp_path / "file" / "page.html")


def test_only_pages_of_gradsift_are_replaced(blobs, trained, tmp_path):
    audit = gradsift.audit(trained, blobs[:2], output=tmp_path / "run", show_progress=False)
    (tmp_path / "mine.html").write_text("<html>mine</html>")
    with pytest.raises(OutputError, match="exists and is not replaced"):
        audit.report(tmp_path / "mine.html")
    assert (tmp_path / "mine.html").read_text() == "<html>mine</html>"
    first = audit.report(tmp_path / "page.html").read_bytes()
    assert audit.report(tmp_path / "page.html").read_bytes() == first
    (tmp_path / "run/report.html").write_text("a page of an older version")
    assert audit.report(tmp_path / "run/report.html").read_bytes() == first
    assert {path.name for path in tmp_path.iterdir()} == {"run", "mine.html", "page.html"}


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's package chromium")
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (380, "dark")])
def test_in_a_real_browser(browser, page, width, scheme):
    tab = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme).new_page()
    troubles, requests = [], []
    tab.on("console", lambda message: troubles.append(message.text))
    tab.on("pageerror", lambda error: troubles.append(str(error)))
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto(page.as_uri())
    assert not troubles
    assert all(url.startswith(("file:", "data:")) for url in requests)
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.locator("#cards article").count() == 12
    assert tab.locator("#cards img").evaluate_all("images => images.every(image => image.naturalWidth === 6)")
    for part in ("#histogram", "#matrix", "#removed", "#space"):
        assert tab.locator(part).bounding_box()["height"] > 60
    paper, ink = tab.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    assert contrast(paper, ink) > 7
    assert (luminance(paper) < 0.2) == (scheme == "dark")
    tab.context.close()


def test_samples_are_rendered_by_kind():
    assert "<img" in render_sample((np.zeros((1, 8, 8)), 3))
    assert "<img" in render_sample(torch.zeros(3, 8, 8))
    assert "a &lt;i&gt; text" in render_sample(("a <i> text", 1))
    assert "a text" in render_sample({"text": "a text", "label": 1})
    assert "width" in render_sample((np.array([1.0, 2.0]), 0), ["width", "height"])
    assert "and 18 more" in render_sample(np.arange(30.0))
    assert render_sample("z" * 1000).count("z") == 400


@pytest.mark.parametrize(
    ("sample", "line"),
    [
        ((np.zeros((1, 8, 8)), 3), "image of shape (1, 8, 8)"),
        (("a <i>\n text\x1b", 1), r"a <i> text\x1b"),
        ({"text": "a text", "label": 1, "id": "x"}, "a text"),
        ({"age": 30, "pay": 2.5, "label": 1}, "age=30, pay=2.5"),
        (
            {"customer": 1004023, "age": float("nan"), "pay": 1234567.5, "label": 1},
            "customer=1004023, age=nan, pay=1.235e+06",
        ),
        ((np.array([1.0, 2.0]), 0), "width=1, height=2"),
        (np.arange(30.0), "width=0, height=1, x2=2, x3=3 and 26 more"),
        ({"label": 1}, ""),
        ("z" * 1000, "z" * 100 + " …"),
    ],
)
def test_a_line_describes_each_kind_of_sample(sample, line):
    assert describe_sample(sample, ["width", "height"]) == line


@pytest.mark.parametrize("shape", [(5, 7), (1, 5, 7), (3, 5, 7), (5, 7, 3), (5, 7, 1)])
def test_png_is_read_back_by_pillow(shape):
    image = pytest.importorskip("PIL.Image")
    import base64
    import io

    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert is_image(pixels)
    decoded = np.asarray(image.open(io.BytesIO(base64.b64decode(png_data_uri(pixels).split(",")[1]))))
    plain = pixels.transpose(1, 2, 0) if shape[0] in (1, 3) and len(shape) == 3 else pixels
    assert np.array_equal(decoded, plain.squeeze())


def test_what_is_no_image():
    assert not is_image(np.zeros(10))
    assert not is_image(np.zeros((2, 50)))
    assert not is_image(np.zeros((4, 9, 9, 3)))


def test_the_histogram_marks_the_cut():
    scores = np.concatenate([np.linspace(0.1, 1, 95), [5, 6, 7, 8, 9]])
    shown = histogram(scores, 5.0)
    assert sum(above for *_, above in shown.bars) >= 4
    assert shown.cut is not None
    assert histogram(np.ones(10), None).cut is None
    assert histogram(np.exp(np.linspace(-8, 8, 500)), 100.0).logarithmic


def test_gradient_space_holds_flagged_and_kept_samples(blobs, trained):
    audit = gradsift.audit(trained, blobs[:2], contamination=0.1, show_progress=False)
    points, share = gradient_space(audit)
    assert len(points) == 180
    assert sum(mark for _, _, mark, _ in points) == 18
    assert 0 < share <= 1
    norms_alone = gradsift.audit(trained, blobs[:2], detectors=["l2"], show_progress=False)
    assert gradient_space(norms_alone) is None


def test_a_page_never_shows_samples_of_another_data_set(blobs, trained, tmp_path):
    inputs, given, _ = blobs
    audit = gradsift.audit(trained, (inputs, given), show_progress=False)
    with pytest.raises(gradsift.DataError, match="not the one that was audited"):
        audit.report(tmp_path / "page.html", (inputs[::-1].copy(), given))


def test_a_page_does_not_overwrite_other_files(blobs, trained, tmp_path):
    (tmp_path / "train.csv").write_text("a,b\n")
    with pytest.raises(gradsift.SettingError, match=r"name it \*\.html"):
        gradsift.audit(trained, blobs[:2], show_progress=False).report(tmp_path / "train.csv")
    assert (tmp_path / "train.csv").read_text() == "a,b\n"


def test_a_page_that_shows_samples_is_kept_where_a_new_one_would_show_none(blobs, trained, tmp_path):
    page = gradsift.audit(trained, blobs[:2], output=tmp_path / "run", show_progress=False).report()
    first = page.read_bytes()
    elsewhere = gradsift.Audit.open((tmp_path / "run").rename(tmp_path / "moved"))
    page = tmp_path / "moved/report.html"
    with pytest.raises(OutputError, match=r"shows samples.*another name"):
        elsewhere.report()
    assert page.read_bytes() == first
    other = elsewhere.report(tmp_path / "page.html")
    assert b"without a preview" in other.read_bytes()
    assert elsewhere.report(other) == other  # which shows none
    assert elsewhere.report(train_set=blobs[:2]).read_bytes() == first


def test_cards_of_rows_with_texts_are_wide(tmp_path):
    rows = [{"country": "DE", "text": f"a text {place}", "label": place % 2} for place in range(20)]
    probabilities = np.tile([[0.9, 0.1], [0.1, 0.9]], (10, 1))
    for data, cards in ((rows, 'class="cards texts"'), ((np.eye(20), np.arange(20) % 2), 'class="cards" id')):
        audit = gradsift.audit_predictions(np.arange(20) % 2, probabilities, data=data, show_progress=False)
        assert cards in audit.report(tmp_path / "page.html").read_text()
