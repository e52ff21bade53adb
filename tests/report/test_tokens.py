"""Cards of texts: tokens in colour, from an audit and from its run directory, read as text and looked at in Chromium."""

import logging
import re
import shutil

import numpy as np
import pytest
import torch
from markupsafe import Markup
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerFast
from typer.testing import CliRunner

import gradsift
from gradsift.cli.app import app
from gradsift.report.highlights import Highlight, pieces, read_highlights
from gradsift.report.tokens import SHOWN, render_tokens
from tests.support.browser import CHROMIUM, contrast
from tests.support.families import BY_NAME

WORDS = ["<s>", "<pad>", "</s>", "<unk>", "<i>", "&amp", '"x"', *(f"w{place}" for place in range(7, 40))]


def fast(model, pre_tokenizer=None, decoder=None, **options):
    made = Tokenizer(model)
    made.pre_tokenizer, made.decoder = pre_tokenizer, decoder
    return PreTrainedTokenizerFast(tokenizer_object=made, **options)


def words():
    vocabulary = {word: place for place, word in enumerate(WORDS)}
    return fast(
        models.WordLevel(vocabulary, unk_token="<unk>"), pre_tokenizers.WhitespaceSplit(),
        pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=16,
    )  # fmt: skip


def rows(size=30, longest=9):
    generator = np.random.default_rng(0)
    texts = ["<i> &amp " + " ".join(generator.choice(WORDS[6:], generator.integers(3, longest))) for _ in range(size)]
    return [{"text": text, "label": int(generator.integers(3))} for text in texts]


def a_set(kind):
    if kind == "gpt2_lm":
        return gradsift.PromptSet(rows(), words(), text="text")
    if kind == "bert_token":
        split = [{"text": row["text"].split(), "label": [1] * len(row["text"].split())} for row in rows()]
        return gradsift.TextSet(split, words(), text="text", label="label")
    return gradsift.TextSet(rows(), words(), text="text", label="label")


def run(folder, kind="gpt2_lm", **options):
    family = BY_NAME[kind]
    return gradsift.audit(
        family.make(), options.pop("train_set", None) or a_set(kind), task=family.task, contamination=0.2,
        output=folder, show_progress=False, batch_size=8, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return {kind: run(folder / kind, kind) for kind in ("gpt2_lm", "bert_token", "bert_sequence")}


@pytest.mark.parametrize("kind", ["gpt2_lm", "bert_token", "bert_sequence"])
def test_the_page_shows_the_tokens_of_its_cards(runs, kind):
    audit = runs[kind]
    stored = audit.run.read_json("tokens.json")
    shown = audit.worst(6)["position"].to_pylist()
    assert {int(position) for position in stored} == set(shown)
    for position in shown:
        entry, texts = stored[str(position)], a_set(kind).tokens(position)
        assert [piece.strip() for piece in entry["tokens"]] == texts
        assert sum(entry["share"]) == pytest.approx(1, abs=1e-4)
        assert (entry["loss"] is None) == (kind == "bert_sequence")
        if entry["loss"] is not None:
            known = [loss for loss in entry["loss"] if loss is not None]
            assert np.mean(known) == pytest.approx(audit.table["loss"][position].as_py(), abs=2e-3)
    page = (audit.run.path / "report.html").read_text()
    cards = page.partition('id="cards"')[2]
    assert cards.count('class="t ') == sum(len(stored[str(position)]["tokens"]) for position in shown)
    assert "% of the gradient" in cards
    assert ("nats" in cards) == ("Underline" in page) == (kind != "bert_sequence")
    assert "<i>" not in page
    assert "&lt;i&gt;" in page
    assert "&amp;amp" in page
    assert not re.findall(
        r"""(?:src|href)=["'](?!data:)|<script(?! type="application/json"|>//)|<link|@import|url\(""", page
    )


def test_a_later_page_needs_neither_model_nor_data_and_is_the_same(runs, tmp_path):
    for audit in runs.values():
        first = (audit.run.path / "report.html").read_bytes()
        assert gradsift.Audit.open(audit.run.path).report(tmp_path / "later.html").read_bytes() == first
        result = CliRunner().invoke(app, ["report", str(audit.run.path), "-o", str(tmp_path / "cli.html")])
        assert result.exit_code == 0, result.output
        assert (tmp_path / "cli.html").read_bytes() == first


def test_a_replay_gives_the_same_bytes(runs, tmp_path):
    again = run(tmp_path / "again", "gpt2_lm")
    loader = DataLoader(a_set("gpt2_lm"), batch_size=5, collate_fn=a_set("gpt2_lm").collate)
    loaded = run(tmp_path / "loaded", "gpt2_lm", train_set=loader)
    first = (runs["gpt2_lm"].run.path / "tokens.json").read_bytes()
    assert (again.run.path / "tokens.json").read_bytes() == first
    assert (loaded.run.path / "tokens.json").read_bytes() == first


def test_an_audit_without_a_folder_shows_them_too(tmp_path):
    family = BY_NAME["bert_sequence"]
    audit = gradsift.audit(family.make(), a_set("bert_sequence"), show_progress=False)
    assert 'class="t ' in audit.report(tmp_path / "page.html").read_text()


def test_data_without_a_tokenizer_has_no_highlights(blobs, trained, tmp_path):
    audit = gradsift.audit(trained, blobs[:2], output=tmp_path / "run", show_progress=False)
    assert not (audit.run.path / "tokens.json").exists()
    assert 'class="t ' not in (audit.run.path / "report.html").read_text()


def test_a_failure_leaves_highlights_out_and_the_audit_whole(tmp_path, monkeypatch, caplog):
    def refuse(*_args, **_options):
        raise gradsift.ModelError("no input embeddings here")

    monkeypatch.setattr("gradsift.report.highlights.token_shares", refuse)
    audit = run(tmp_path / "run", "bert_sequence")
    assert "no input embeddings here" in caplog.text
    assert not (audit.run.path / "tokens.json").exists()
    assert "w1" in (audit.run.path / "report.html").read_text()  # the text as it stands


def test_out_of_memory_halves_the_batch(tmp_path, monkeypatch, runs):
    from gradsift.report import highlights

    honest, sizes = highlights.token_shares, []

    def scarce(model, task, batch, **options):
        sizes.append(len(batch["input_ids"]))
        if sizes[-1] > 1:
            raise torch.OutOfMemoryError("out of memory")
        return honest(model, task, batch, **options)

    monkeypatch.setattr(highlights, "token_shares", scarce)
    audit = run(tmp_path / "run")
    assert sizes[:3] == [4, 2, 1]
    assert read_highlights(audit.run).keys() == read_highlights(runs["gpt2_lm"].run).keys()


@pytest.mark.parametrize(
    "content",
    [
        "{", "[]", '{"x": {}}', '{"1": 3}', '{"1": {"tokens": ["a"], "share": [0.5, 0.5], "loss": null}}',
        '{"1": {"tokens": ["a"], "share": ["red;"], "loss": null}}', '{"1": {"tokens": [1], "share": [1], "loss": null}}',
        '{"1": {"tokens": ["a"], "share": [NaN], "loss": null}}', '{"1": {"tokens": ["a"], "share": [1], "loss": [-1]}}',
        '{"1": {"tokens": "a", "share": [1], "loss": null}}', '{"1": {"share": [1], "loss": null}}',
        '{"1": {"tokens": ["a"], "share": [1], "loss": 3}}',
    ],
)  # fmt: skip
def test_a_corrupt_file_is_ignored_and_said(runs, tmp_path, caplog, content):
    folder = shutil.copytree(runs["bert_sequence"].run.path, tmp_path / "run")
    (folder / "tokens.json").write_text(content)
    with caplog.at_level(logging.WARNING):
        page = gradsift.Audit.open(folder).report(tmp_path / "page.html").read_text()
    assert "tokens.json is corrupt" in caplog.text
    assert 'class="t ' not in page
    assert "without a preview" in page


def test_pieces_read_as_the_text_does():
    words = ["[UNK]", "un", "##believ", "##ably", "good", "!", "##s"]
    bert = fast(
        models.WordPiece({word: place for place, word in enumerate(words)}, unk_token="[UNK]"),
        decoder=decoders.WordPiece(),
    )
    assert pieces(bert, [1, 2, 3, 4, 6, 5]) == ["un", "believ", "ably", " good", "s", "!"]

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    letters = fast(
        models.BPE({letter: place for place, letter in enumerate(alphabet)}, []),
        pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel(),
    )  # fmt: skip
    text = " aé \n— 🙂b"
    found = pieces(letters, letters(text)["input_ids"])
    assert "".join(found) == text
    assert found[:4] == [" ", "a", "", "é"]
    assert found[-5:] == ["", "", "", "🙂", "b"]
    broken = letters("🙂a")["input_ids"]
    assert pieces(letters, broken[:3]) == ["", "", "\N{REPLACEMENT CHARACTER}"]  # cut within a character
    assert len(pieces(letters, [broken[1]] * 9)) == 9

    names = ["<unk>", "▁Once", "▁upon", "▁a", "b", "▁", "<0xC3>", "<0xAB>", "<0x0A>"]
    sentence = fast(
        models.BPE({name: place for place, name in enumerate(names)}, [], byte_fallback=True),
        decoder=decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        ),
    )
    assert pieces(sentence, [1, 2, 3, 4, 5, 6, 7, 8, 4]) == ["Once", " upon", " a", "b", " ", "", "ë", "\n", "b"]
    assert pieces(sentence, []) == []


def spans(html):
    return re.findall(r'class="t ([^"]*)" title="([^"]*)">([^<]*)</span>', html)


def test_strengths_are_relative_and_titles_hold_the_numbers():
    html = render_tokens(
        Highlight(["a", " b", "", " <ë", "\n\n"], [0.2, 0.5, 0.1, 0.2, 0.0], [None, 4.0, 1.0, 1.5, 0.25])
    )
    assert isinstance(html, Markup)
    assert spans(html) == [
        ("share-8 loss-0", "20 % of the gradient, no target", "a"),
        ("share-20 loss-20", "50 % of the gradient, loss 4.00 nats", "b"),
        ("share-12 loss-12", "30 % of the gradient, loss 2.50 nats (2 tokens)", "&lt;ë"),
        ("share-0 loss-1", "0 % of the gradient, loss 0.25 nats", "↵↵\n"),
    ]
    assert re.sub("<[^>]*>", "", html) == "a b &lt;ë↵↵\n"
    plain = render_tokens(Highlight(["a", ""], [0.0, 0.0], None))
    assert [text for _, _, text in spans(plain)] == ["a", "·"]
    assert "nats" not in plain
    assert "loss" not in plain


def test_hostile_tokens_are_escaped():
    html = render_tokens(Highlight(['"><script>alert(1)</script>', "' onx='"], [1.0, 0.0], None))
    assert "<script" not in html
    assert "onx='" not in html


def test_long_texts_are_cut_to_a_window_around_the_strongest_tokens():
    share = np.full(400, 0.5 / 399)
    share[300] = 0.5
    html = render_tokens(Highlight([f" {place}" for place in range(400)], share.tolist(), None))
    shown = [int(text) for _, _, text in spans(html) if text != "…"]
    assert len(shown) == SHOWN
    assert 300 in shown
    assert shown == list(range(shown[0], shown[0] + SHOWN))
    assert html.count("…") == 2
    assert f"{shown[0]} more" in html
    head = render_tokens(Highlight(["x"] * 200, [1.0, *[0.0] * 199], None))
    assert head.count("…") == 1
    assert head.endswith('title="80 more, 0 % of the gradient">…</span></p>')


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's package chromium")
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (380, "dark"), (380, "light"), (1200, "dark")])
def test_in_a_real_browser(browser, runs, width, scheme):
    tab = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme).new_page()
    requests = []
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto((runs["gpt2_lm"].run.path / "report.html").as_uri())
    assert len(requests) == 1
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    paper = tab.evaluate("getComputedStyle(document.querySelector('.card')).backgroundColor")
    drawn = tab.locator("#cards .t").evaluate_all(
        "all => all.map(one => { const style = getComputedStyle(one);"
        " return [style.backgroundColor, style.color, style.borderBottomColor,"
        " Number(style.getPropertyValue('--s')), Number(style.getPropertyValue('--l'))]; })"
    )
    assert len(drawn) > 20
    for background, ink, underline, share, loss in drawn:
        assert alpha(background) == pytest.approx(0.5 * share, abs=0.01)
        assert alpha(underline) == pytest.approx(loss, abs=0.01)
        assert contrast(over(background, paper), ink) > 4.5
    tab.context.close()


def alpha(colour):
    numbers = re.findall(r"[\d.]+", colour)
    return float(numbers[3]) if len(numbers) > 3 else 1.0


def over(colour, paper):
    mixed = [
        alpha(colour) * float(front) + (1 - alpha(colour)) * float(back)
        for front, back in zip(re.findall(r"[\d.]+", colour)[:3], re.findall(r"[\d.]+", paper)[:3], strict=True)
    ]
    return "rgb({}, {}, {})".format(*(round(value) for value in mixed))
