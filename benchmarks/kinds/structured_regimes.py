"""Regimes of masks, of sources with targets, of boxes, transcripts, matches and texts with masked words."""

from __future__ import annotations

from functools import partial
from typing import Any

from kinds import box_sets, chat_sets, mask_sets, match_sets, sequence_sets, speech_sets, text_sets
from kinds.regime import Regime

OF_TASKS = ("mask", "box", "sequence", "match", "speech", "text")
"""Kinds of these regimes."""


def _mask(words: str, how: str, *, name: str, first: int = 0, **more: bool) -> Regime:
    return Regime(
        "mask", f"{words}, {how} 10 %", partial(mask_sets.load, name=name, first=first, how=how), **more
    )  # fmt: skip


def _box(words: str, how: str, *, name: str, first: int = 0, **more: bool) -> Regime:
    return Regime("box", f"{words}, {how} 10 %", partial(box_sets.load, name=name, first=first, how=how), **more)


def _text(words: str, source: text_sets.Source, how: str, **more: bool) -> Regime:
    return Regime("text", f"{words}, {how} 10 %", partial(text_sets.load, source=source, how=how), **more)


def _sequence(words: str, source: chat_sets.Source, how: str, **more: bool) -> Regime:
    return Regime("sequence", f"{words}, {how} 10 %", partial(sequence_sets.load, source=source, how=how), **more)


def _match(words: str, source: chat_sets.Source, how: str, *, by: str = "tf-idf", **more: bool) -> Regime:
    words += {"tf-idf": "", "minilm": ", MiniLM", "words": ", tower of words"}[by]
    return Regime("match", f"{words}, {how} 10 %", partial(match_sets.load, source=source, how=how, by=by), **more)


def _speech(
    words: str, how: str, noise: tuple[float, float], *, chosen_on: bool = False, ahead: bool = True, **more: Any
) -> Regime:
    load = partial(speech_sets.load, how=how, noise=noise, **more)
    return Regime("speech", f"{words}, {how} 10 %", load, chosen_on, ahead)


questions = partial(text_sets.column, name="trec/train.parquet")
news = partial(text_sets.column, name="ag_news/train_subset8k.parquet")
asked = partial(text_sets.column, name="glue_qnli/train_subset10k.parquet", column="question")
films = partial(text_sets.column, name="imdb/train_subset8k.parquet")
sentences = partial(text_sets.column, name="glue_mrpc/train.parquet", column="sentence1")
reviews = partial(text_sets.column, name="glue_sst2/train.parquet", column="sentence")
chords = partial(_speech, letters=18, tones=3, chosen_on=True)
digits, clothes = partial(_mask, "digits", name="mnist"), partial(_mask, "clothes", name="fashion_mnist")

STRUCTURED: dict[str, Regime] = {
    # digits 0 to 3 and clothes 0 to 3 were in view, with seeds from 100 on; the other classes were not
    "mask-digits-mixed": digits("mixed", chosen_on=True),
    "mask-clothes-drop": clothes("drop", chosen_on=True),
    "mask-other-digits-mixed": _mask("other digits", "mixed", name="mnist", first=4),
    "mask-other-digits-shift": _mask("other digits", "shift", name="mnist", first=4, ahead=False),
    "mask-other-digits-swap": _mask("other digits", "swap", name="mnist", first=4, ahead=False),
    "mask-other-clothes-mixed": _mask("other clothes", "mixed", name="fashion_mnist", first=5),
    "mask-other-clothes-drop": _mask("other clothes", "drop", name="fashion_mnist", first=5),
    "box-digits-mixed": _box("digits", "mixed", name="mnist", chosen_on=True),
    "box-other-digits-mixed": _box("other digits", "mixed", name="mnist", first=4),
    "box-other-clothes-missing": _box("other clothes", "missing", name="fashion_mnist", first=5, ahead=False),
    "box-other-clothes-class": _box("other clothes", "class", name="fashion_mnist", first=5),
    # plain loss was the default of masked words when the list was made: nothing was named to lead
    "text-questions-mixed": _text("questions of TREC", questions, "mixed", chosen_on=True, ahead=False),
    "text-asked-mixed": _text("questions of QNLI", asked, "mixed", chosen_on=True, ahead=False),
    "text-films-mixed": _text("beginnings of IMDB", films, "mixed", chosen_on=True, ahead=False),
    "text-sentences-mixed": _text("sentences of MRPC", sentences, "mixed", chosen_on=True, ahead=False),
    "text-news-mixed": _text("beginnings of AG News", news, "mixed", ahead=False),
    "text-reviews-words": _text("sentences of SST-2", reviews, "words", ahead=False),
    "sequence-grammar-mixed": _sequence("rules of grammar", chat_sets.transformed, "mixed"),
    "sequence-paraphrased-shuffled": _sequence("paraphrases of MRPC", chat_sets.paraphrased, "shuffled"),
    "sequence-answered-mixed": _sequence("questions of QNLI", chat_sets.answered, "mixed"),
    "sequence-continued-cut": _sequence("halves of AG News", chat_sets.continued, "cut", ahead=False),
    "match-paraphrased-random": _match("paraphrases of MRPC", chat_sets.paraphrased, "random", chosen_on=True),
    "match-answered-near": _match("questions of QNLI", chat_sets.answered, "near", chosen_on=True),
    "match-continued-random": _match("halves of AG News", chat_sets.continued, "random", chosen_on=True),
    "match-transformed-random": _match("rules of grammar", chat_sets.transformed, "random"),
    "match-transformed-near": _match("rules of grammar", chat_sets.transformed, "near"),
    "match-reasoned-random": _match("word problems", chat_sets.reasoned, "random"),
    "match-blended-random": _match("five tasks", chat_sets.blended, "random"),
    "match-asked-random": _match("questions of QQP", chat_sets.asked_again, "random"),
    "match-asked-near": _match("questions of QQP", chat_sets.asked_again, "near"),
    "match-asked-minilm-near": _match("questions of QQP", chat_sets.asked_again, "near", by="minilm"),
    "match-transformed-words-random": _match("rules of grammar", chat_sets.transformed, "random", by="words"),
    "match-blended-words-random": _match("five tasks", chat_sets.blended, "random", by="words"),
    "speech-chords-even-mixed": chords("chords, noise alike", "mixed", (0.4, 0.4)),
    "speech-chords-mixed": chords("chords, noise unlike", "mixed", (0.2, 0.9)),
    "speech-chords-replace": chords("chords, noise unlike", "replace", (0.2, 0.9)),
    "speech-chords-swap": chords("chords, noise unlike", "swap", (0.2, 0.9)),
    "speech-chords-leave": chords("chords, noise unlike", "leave", (0.2, 0.9)),
    "speech-chords-sum-mixed": chords("chords, noise unlike, learnt by sums", "mixed", (0.2, 0.9), reduction="sum"),
    "speech-few-mixed": _speech("tones of six letters, noise unlike", "mixed", (0.2, 1.0), letters=6, chosen_on=True),
    "speech-even-mixed": _speech("tones, noise alike", "mixed", (0.25, 0.25), ahead=False),
    "speech-uneven-mixed": _speech("tones, noise unlike", "mixed", (0.1, 0.7)),
    "speech-uneven-replace": _speech("tones, noise unlike", "replace", (0.1, 0.7)),
    "speech-uneven-swap": _speech("tones, noise unlike", "swap", (0.1, 0.7), ahead=False),
}
"""Name to regime."""
