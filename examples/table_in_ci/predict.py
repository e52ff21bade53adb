"""Writes scikit-learn's wines with some wrong labels, and what a forest predicts of rows that it has not seen.

python predict.py    # train.csv, test.csv, predictions.npz
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_predict, train_test_split

from gradsift.evaluation import flip_labels


def main() -> None:
    wines = load_wine(as_frame=True)
    rows, tests, labels, test_labels = train_test_split(
        wines.data, wines.target, test_size=60, random_state=0, stratify=wines.target
    )
    given = flip_labels(labels.to_numpy(), 0.15, seed=0)
    classes = np.array(wines.target_names)
    pd.DataFrame(rows).assign(label=classes[given]).to_csv("train.csv", index=False)
    pd.DataFrame(tests).assign(label=classes[test_labels]).to_csv("test.csv", index=False)
    forest = RandomForestClassifier(random_state=0)
    probabilities = cross_val_predict(forest, rows, given, cv=5, method="predict_proba")
    np.savez("predictions.npz", probabilities=probabilities, class_names=classes)


if __name__ == "__main__":
    main()
