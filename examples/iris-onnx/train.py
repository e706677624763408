"""Train both models of this example and write them as ONNX graphs.

The data ships inside scikit-learn and the fits have no randomness, so the models can be made again from nothing:

    python3.13 -m venv /tmp/train && /tmp/train/bin/pip install scikit-learn==1.9.* skl2onnx==1.20.*
    /tmp/train/bin/python train.py
"""

import json
from pathlib import Path

from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.base import BaseEstimator
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

MODELS = Path(__file__).parent / "models"
OPSET = 17  # fixed, so that a newer converter does not ask for a newer runtime


def save(model: BaseEstimator, path: Path, columns: int, **options: object) -> None:
    graph = to_onnx(
        model,
        initial_types=[("measurements", FloatTensorType([None, columns]))],
        options={id(model): options} if options else None,
        target_opset=OPSET,
        name=path.stem,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(graph.SerializeToString())


def main() -> None:
    iris = load_iris()
    sepal_and_petal, species = iris.data, iris.target

    classifier = make_pipeline(StandardScaler(), LogisticRegression())
    classifier.fit(sepal_and_petal, species)
    # zipmap=False: probabilities as one array instead of a list of dictionaries
    save(classifier, MODELS / "species" / "model.onnx", columns=4, zipmap=False)
    (MODELS / "species" / "labels.json").write_text(json.dumps([str(name) for name in iris.target_names]) + "\n")
    print(f"species: {classifier.score(sepal_and_petal, species):.3f} of the flowers named right")

    measured, petal_width = sepal_and_petal[:, :3], sepal_and_petal[:, 3]
    regressor = LinearRegression().fit(measured, petal_width)
    save(regressor, MODELS / "petal_width.onnx", columns=3)
    print(f"petal_width: R2 {regressor.score(measured, petal_width):.3f}")


if __name__ == "__main__":
    main()
