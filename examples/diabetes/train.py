"""Train the model of this example: how far diabetes progresses within a year.

The data ships inside scikit-learn and the fit has no randomness, so the model can be made again from nothing:

    python3.13 -m venv /tmp/train && /tmp/train/bin/pip install -r requirements.txt
    /tmp/train/bin/python train.py
"""

from pathlib import Path

import joblib
import sklearn
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

MODEL = Path(__file__).parent / "models" / "sklearn_regression_model.pkl"


def main() -> None:
    # scaled=False keeps years, mg/dl and so on, so that a request can be written by hand.
    features, progression = load_diabetes(return_X_y=True, scaled=False)
    train_x, test_x, train_y, test_y = train_test_split(features, progression, test_size=0.2, random_state=0)

    model = make_pipeline(StandardScaler(), Ridge(alpha=1.0))
    model.fit(train_x, train_y)

    MODEL.parent.mkdir(exist_ok=True)
    joblib.dump(model, MODEL)
    print(f"{MODEL.name}: R2 {model.score(test_x, test_y):.3f} on other patients (scikit-learn {sklearn.__version__})")


if __name__ == "__main__":
    main()
