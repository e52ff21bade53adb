"""The columns of the table."""

from __future__ import annotations

COLUMNS = {
    "position": "place of the sample in the data set that was audited, from 0",
    "id": "the sample's own id where it has one (key `id` of a dict sample), otherwise its position",
    "given_label": "the label in the data set",
    "predicted_label": "what the model predicts",
    "suggested_label": "the most probable other class, where model and neighbours believe in another one than the given "
    "one; otherwise empty. Of a flagged sample with several labels: the set with some added or removed. Of a flagged "
    "sample with a value: the value that is expected",
    "wrong_probability": "calibrated probability that the given label is wrong; empty where no prediction is out of fold, "
    "because what a model says of labels that it was trained on cannot be calibrated",
    "loss": "the sample's loss at the audited weights",
    "score": "score of the main detector: higher = more detrimental",
    "rank": "1 = the most detrimental sample; of equal scores the flagged ones come first, then it goes by position",
    "percentile": "percentage of samples whose score is at most this sample's",
    "flagged": "whether the sample is among those to remove",
    "reason_kind": "the reason's kind where there are classes: wrong_label, ambiguous, atypical or duplicate",
    "reason": "why it is flagged, in a few words, which the glossary explains",
}
"""Column to its meaning. Of values, ``suggested_low`` and ``suggested_high`` follow, between which 95 % of right ones lie;
of masks and boxes ``worst_box``, the place of the worst part: left, top, right, bottom as shares of width and height; then
one ``score_<detector>`` for each detector that was asked for."""

SCORE_PREFIX = "score_"
