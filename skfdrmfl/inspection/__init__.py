"""Pictures of a fitted model, in scikit-learn's form: `XDisplay.from_estimator(...)`, attributes `ax_` and `figure_`.

matplotlib is imported when something is drawn, never before; all numbers can be had without it (`compute`).
"""

from skfdrmfl.inspection._client_errors import ClientErrorsDisplay
from skfdrmfl.inspection._history import HistoryDisplay
from skfdrmfl.inspection._importance import ImportanceDisplay
from skfdrmfl.inspection._modalities import ModalityContributionsDisplay
from skfdrmfl.inspection._outliers import OutlierDisplay
from skfdrmfl.inspection._predictions import PredictedMeasuredDisplay
from skfdrmfl.inspection._scores import ScoresDisplay
from skfdrmfl.inspection._sensitivity import SensitivityDisplay

__all__ = [
    "ClientErrorsDisplay",
    "HistoryDisplay",
    "ImportanceDisplay",
    "ModalityContributionsDisplay",
    "OutlierDisplay",
    "PredictedMeasuredDisplay",
    "ScoresDisplay",
    "SensitivityDisplay",
]
