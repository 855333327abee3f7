"""The place of the searches of earlier versions: an import of one says what to use now."""

from typing import NoReturn


def __getattr__(name: str) -> NoReturn:
    if name in ("VectorizedGridSearchCV", "VectorizedRandomizedSearchCV"):
        theirs = name.removeprefix("Vectorized")
        raise ImportError(
            f"{name} is gone, because scikit-learn's own search is as fast now; import {theirs} from "
            "sklearn.model_selection, which takes the same parameters but chunk_size."
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
