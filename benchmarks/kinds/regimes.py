"""The regimes of every kind: where the data comes from, which errors are planted, and what was in view for constants.

The list, with who is for choosing and who is for testing, was fixed before the runs; none is taken out for its result.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from kinds import (
    chat_sets,
    condition_sets,
    graph_sets,
    many_labels,
    pair_sets,
    pairs,
    series_sets,
    token_sets,
    values,
)
from kinds.regime import Regime
from kinds.structured_regimes import STRUCTURED
from kinds.task_draw import TaskDraw

STRANGE, COPIES = "picture", "copy"
"""Kinds of pictures that a diffusion model learns, some of which are of another set, or have copies."""
OF_CLASSES = ("node", "series", "condition")
"""Kinds with one class a sample that have a benchmark here: nodes of a graph, signals and sounds, conditions of a diffusion
model."""


def _value(words: str, source: Callable[..., values.Table], how: str, *, rate: float = 0.1, **more: bool) -> Regime:
    return Regime(
        "value", f"{words}, {how} {100 * rate:.0f} %", partial(values.load, source=source, how=how, rate=rate), **more
    )


def _many(
    words: str, source: Callable[..., many_labels.Labelled], how: str, *, rate: float = 0.1, **more: bool
) -> Regime:
    return Regime(
        "multilabel",
        f"{words}, {how} {100 * rate:.0f} %",
        partial(many_labels.load, source=source, how=how, rate=rate),
        **more,
    )


def _token(
    words: str, source: Callable[..., token_sets.Sentences], how: str, *, rate: float = 0.15, **more: bool
) -> Regime:
    return Regime(
        "token",
        f"{words}, {how} {100 * rate:.0f} %",
        partial(token_sets.load, source=source, how=how, rate=rate),
        **more,
    )


def _pair(words: str, source: Callable[..., pair_sets.Pairs], *, rate: float = 0.2, **more: bool) -> Regime:
    network = more.pop("network", False)
    words = f"{words}{', network' if network else ''}, swap {100 * rate:.0f} %"
    return Regime("pair", words, partial(pairs.load, source=source, rate=rate, network=network), **more)


def _chat(words: str, source: Callable[..., chat_sets.Chats], how: str, *, rate: float = 0.05,
          model: str = "stories260K", epochs: int = 3, **more: bool) -> Regime:  # fmt: skip
    return Regime(
        "chat", f"{words}, {how} {100 * rate:.0f} %, {model}",
        partial(chat_sets.load, source=source, how=how, rate=rate, model=model, epochs=epochs), **more,
    )  # fmt: skip


def _classes(kind: str, words: str, load: Callable[..., TaskDraw], how: str, rate: float, *, chosen_on: bool = False,
             ahead: bool = True, **more: object) -> Regime:  # fmt: skip
    words = f"{words}, {how} {100 * rate:.0f} %"
    return Regime(kind, words, partial(load, how=how, rate=rate, **more), chosen_on, ahead)


def _even(x: np.ndarray) -> np.ndarray:
    return np.ones(len(x))


def _growing(x: np.ndarray) -> np.ndarray:
    return 0.3 + 4 * x[:, 5] ** 2


def _two_groups(x: np.ndarray) -> np.ndarray:
    return np.where(x[:, 0] > 0.7, 5.0, 0.5)


friedman, table, joined = values.friedman, values.table, many_labels.joined_texts
overlaid, news, films, questions = (
    many_labels.overlaid_images, "ag_news/train_subset8k.parquet", "imdb/train_subset8k.parquet", "trec/train.parquet",
)  # fmt: skip

kinds_of = pair_sets.two_kinds
reviews = partial(kinds_of, name="imdb/train_subset8k", column="text", good=1)
sentences = partial(kinds_of, name="glue_sst2/train", column="sentence", good=1)
short_messages = partial(kinds_of, name="sms_spam/train", column="text", good=0, most=3000)

news_topics = partial(pair_sets.two_topics, name="ag_news", good=2, bad=3)
question_topics = partial(pair_sets.two_topics, name="trec", good=1, bad=2)

_tones = partial(_classes, "series", "tones, made", series_sets.load, source=series_sets.tones, sound=True)


def _node(name: str, how: str, rate: float, **more: bool) -> Regime:
    words = f"{name.capitalize()}{', last layer behind the averaging' if more.get('head') else ''}"
    return _classes("node", words, graph_sets.load, how, rate, name=name, **more)


def _series(words: str, name: str, how: str, rate: float, **more: bool) -> Regime:
    source = partial(series_sets.bundled, name=name)
    return _classes("series", words, series_sets.load, how, rate, source=source, **more)


def _condition(name: str, how: str, rate: float, **more: bool) -> Regime:
    return _classes("condition", f"{name}, 8 x 8", condition_sets.load, how, rate, name=name, **more)


def _picture(words: str, how: str, *, chosen_on: bool = False, ahead: bool = True, **which: str) -> Regime:
    kind = STRANGE if how == "outliers" else COPIES
    words += ", 3 %" if how == "outliers" else ", ten 15 times" + ", with noise" * (how == "alike")
    return Regime(kind, words, partial(condition_sets.spoiled, how=how, **which), chosen_on, ahead)


REGIMES: dict[str, Regime] = {
    # heteroscedastic noise has to be told from errors; even noise leaves nothing to gain over the residual
    "value-friedman-even-swap": _value(
        "Friedman, even noise", partial(friedman, noise=_even), "swap", chosen_on=True, ahead=False
    ),
    "value-friedman-growing-swap": _value(
        "Friedman, growing noise", partial(friedman, noise=_growing), "swap", chosen_on=True
    ),
    "value-friedman-growing-offset": _value(
        "Friedman, growing noise", partial(friedman, noise=_growing), "offset", chosen_on=True
    ),
    "value-german-scale": _value(
        "German credit, log amount",
        partial(table, name="german", target="credit_amount", log=True),
        "scale",
        chosen_on=True,
        ahead=False,
    ),
    "value-adult-age-swap": _value(
        "Adult, age", partial(table, name="adult", target="age"), "swap", chosen_on=True, ahead=False
    ),
    "value-friedman-groups-sign": _value("Friedman, two groups of noise", partial(friedman, noise=_two_groups), "sign"),
    "value-waves-swap": _value("waves, growing noise", values.waves, "swap"),
    "value-waves-offset": _value("waves, growing noise", values.waves, "offset", rate=0.05),
    "value-diabetes-swap": _value("diabetes", values.diabetes, "swap", ahead=False),
    "value-compas-priors-offset": _value(
        "COMPAS, prior offences", partial(table, name="compas", target="priors_count"), "offset", ahead=False
    ),
    "value-compas-age-scale": _value(
        "COMPAS, age", partial(table, name="compas", target="age"), "scale", rate=0.2, ahead=False
    ),
    "value-bank-age-swap": _value("Bank, age", partial(table, name="bank", target="age"), "swap", ahead=False),
    "value-digits-swap": _value("digits as a rating (ordinal)", values.digits, "swap", ahead=False),
    "value-adult-education-offset": _value(
        "Adult, years of school (ordinal)", partial(table, name="adult", target="education_num"), "offset", ahead=False
    ),
    "multilabel-generated-flip": _many("scikit-learn's topics", many_labels.generated, "flip", chosen_on=True),
    "multilabel-news-drop": _many("joined AG News", partial(joined, name=news), "drop", chosen_on=True),
    "multilabel-digits-add": _many("overlaid digits", partial(overlaid, name="mnist"), "add", chosen_on=True),
    "multilabel-questions-flip": _many("joined TREC", partial(joined, name=questions), "flip"),
    "multilabel-questions-add": _many("joined TREC", partial(joined, name=questions), "add", rate=0.05),
    "multilabel-fashion-swap": _many(
        "overlaid Fashion-MNIST", partial(overlaid, name="fashion_mnist"), "swap", rate=0.2
    ),
    "multilabel-fashion-drop": _many("overlaid Fashion-MNIST", partial(overlaid, name="fashion_mnist"), "drop"),
    "multilabel-adult-flip": _many("facts of Adult", many_labels.table_attributes, "flip"),
    "chat-blended-mixed": _chat("five tasks", chat_sets.blended, "mixed", rate=0.12, chosen_on=True),
    "chat-reasoned-mixed": _chat("word problems", chat_sets.reasoned, "mixed", rate=0.12, chosen_on=True),
    "chat-answered-mixed": _chat("questions of QNLI", chat_sets.answered, "mixed", rate=0.12, chosen_on=True),
    "chat-halves-cut": _chat(
        "halves of MRPC",
        partial(chat_sets.continued, name="glue_mrpc/train.parquet", column="sentence1"),
        "cut",
        chosen_on=True,
    ),
    "chat-blended-words": _chat("five tasks", chat_sets.blended, "words", model="stories15M", epochs=2),
    "chat-blended-letters": _chat("five tasks", chat_sets.blended, "letters", model="stories15M", epochs=2),
    "chat-transformed-mixed": _chat("rules of grammar", chat_sets.transformed, "mixed", rate=0.1),
    "chat-transformed-words": _chat("rules of grammar", chat_sets.transformed, "words"),
    "chat-calculated-shuffled": _chat("sums", chat_sets.calculated, "shuffled", rate=0.1, ahead=False),
    "chat-paraphrased-mixed": _chat("paraphrases of MRPC", chat_sets.paraphrased, "mixed", rate=0.1, ahead=False),
    "chat-continued-language": _chat("halves of AG News", chat_sets.continued, "language", rate=0.02, ahead=False),
    "chat-continued-cut": _chat("halves of AG News", chat_sets.continued, "cut"),
    "token-grammar-type": _token("grammar with entities", token_sets.grammar, "type", chosen_on=True),
    "token-grammar-miss": _token("grammar with entities", token_sets.grammar, "miss", chosen_on=True),
    "token-news-case-token": _token("case of AG News", partial(token_sets.case, name=news), "token", chosen_on=True),
    "token-grammar-token": _token("grammar with entities", token_sets.grammar, "token"),
    "token-news-names-miss": _token("names in AG News", partial(token_sets.names, name=news), "miss"),
    "token-news-names-token": _token("names in AG News", partial(token_sets.names, name=news), "token", rate=0.05),
    "token-questions-names-token": _token("names in TREC", partial(token_sets.names, name=questions), "token"),
    "token-films-case-common": _token("case of IMDB", partial(token_sets.case, name=films), "common"),
    "token-films-marks-token": _token("marks in IMDB", partial(token_sets.marks, name=films), "token", rate=0.3),
    # a network that is trained as a whole has features that have seen the labels: only neighbours can add something
    "pair-sst2-10": _pair("SST-2", sentences, rate=0.1, chosen_on=True, ahead=False),
    "pair-sst2-20": _pair("SST-2", sentences, chosen_on=True),
    "pair-sst2-30": _pair("SST-2", sentences, rate=0.3, chosen_on=True),
    "pair-imdb-10": _pair("IMDB", reviews, rate=0.1, chosen_on=True, ahead=False),
    "pair-imdb-20": _pair("IMDB", reviews, chosen_on=True),
    "pair-imdb-30": _pair("IMDB", reviews, rate=0.3, chosen_on=True),
    "pair-news-10": _pair("AG News, business first", news_topics, rate=0.1, ahead=False),
    "pair-news-20": _pair("AG News, business first", news_topics),
    "pair-news-30": _pair("AG News, business first", news_topics, rate=0.3),
    "pair-questions-20": _pair("TREC, descriptions first", question_topics),
    "pair-sms-20": _pair("messages before spam", short_messages),
    "pair-answers-20": _pair("answers of QNLI", pair_sets.answers),
    "pair-stories-20": _pair("stories of two models", pair_sets.stories),
    "pair-imdb-network-20": _pair("IMDB", reviews, network=True, ahead=False),
    "node-cora-symmetric-10": _node("cora", "symmetric", 0.1, chosen_on=True),
    "node-cora-pair-20": _node("cora", "pair", 0.2, chosen_on=True),
    "node-citeseer-symmetric-10": _node("citeseer", "symmetric", 0.1),
    "node-citeseer-symmetric-30": _node("citeseer", "symmetric", 0.3),
    "node-citeseer-pair-20": _node("citeseer", "pair", 0.2),
    "node-citeseer-head-pair-20": _node("citeseer", "pair", 0.2, head=True),
    # the default of classes, as it was: nothing is chosen here
    "series-leaf-symmetric-10": _series("outlines of leaves", "OSULeaf", "symmetric", 0.1, ahead=False),
    "series-leaf-pair-20": _series("outlines of leaves", "OSULeaf", "pair", 0.2),
    "series-power-symmetric-10": _series("days of electric power", "ItalyPowerDemand", "symmetric", 0.1, ahead=False),
    "series-vowels-symmetric-10": _series("speakers of vowels", "JapaneseVowels_eq", "symmetric", 0.1, ahead=False),
    "series-vowels-pair-20": _series("speakers of vowels", "JapaneseVowels_eq", "pair", 0.2),
    "series-tones-symmetric-10": _tones("symmetric", 0.1, ahead=False),
    "series-tones-pair-20": _tones("pair", 0.2),
    "condition-digits-symmetric-10": _condition("digits", "symmetric", 0.1, chosen_on=True),
    "condition-digits-pair-20": _condition("digits", "pair", 0.2, chosen_on=True),
    "condition-mnist-symmetric-10": _condition("mnist", "symmetric", 0.1, chosen_on=True, ahead=False),
    "condition-mnist-pair-20": _condition("mnist", "pair", 0.2, chosen_on=True),
    "condition-fashion-symmetric-10": _condition("fashion_mnist", "symmetric", 0.1, ahead=False),
    "condition-fashion-symmetric-30": _condition("fashion_mnist", "symmetric", 0.3, ahead=False),
    "condition-fashion-pair-20": _condition("fashion_mnist", "pair", 0.2),
    # whether the loss or l2 ranks was decided with all sets in view but CIFAR-10
    "picture-digits-clothes": _picture(
        "clothes among digits", "outliers", name="digits", other="fashion_mnist", chosen_on=True
    ),
    "picture-mnist-digits": _picture("digits among MNIST", "outliers", name="mnist", other="digits", chosen_on=True),
    "picture-clothes-mnist": _picture(
        "MNIST among clothes", "outliers", name="fashion_mnist", other="mnist", chosen_on=True
    ),
    "picture-mnist-clothes": _picture(
        "clothes among MNIST", "outliers", name="mnist", other="fashion_mnist", chosen_on=True
    ),
    "picture-cifar-clothes": _picture(
        "clothes among CIFAR-10", "outliers", name="cifar10", other="fashion_mnist", ahead=False
    ),
    "picture-clothes-cifar": _picture(
        "CIFAR-10 among clothes", "outliers", name="fashion_mnist", other="cifar10", ahead=False
    ),
    "copies-digits": _picture("digits", "copies", name="digits", chosen_on=True),
    "copies-clothes": _picture("clothes", "copies", name="fashion_mnist"),
    "copies-mnist-alike": _picture("MNIST", "alike", name="mnist"),
}
REGIMES |= STRUCTURED
"""Name to regime."""
