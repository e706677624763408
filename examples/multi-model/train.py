"""Fit both versions of this example's model. The data ships inside scikit-learn and nothing is random:

python3.13 -m venv /tmp/train && /tmp/train/bin/pip install scikit-learn==1.9.*
/tmp/train/bin/python train.py
"""

import json
from pathlib import Path

from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression

MODELS = Path(__file__).parent / "models"
NAMES = ("sepal_length", "sepal_width", "petal_length")
#: Version → columns that it looks at.
VERSIONS = {1: (2,), 2: (0, 1, 2)}


def main() -> None:
    measured, width = load_iris().data, load_iris().data[:, 3]
    for version, columns in VERSIONS.items():
        model = LinearRegression().fit(measured[:, columns], width)
        print(f"version {version}: R2 {model.score(measured[:, columns], width):.3f}")
        weights = {NAMES[column]: round(float(each), 6) for column, each in zip(columns, model.coef_, strict=True)}
        path = MODELS / str(version) / "petal_width.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"weights": weights, "intercept": round(float(model.intercept_), 6)}) + "\n")


if __name__ == "__main__":
    main()
