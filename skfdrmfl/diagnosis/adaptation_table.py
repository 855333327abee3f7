"""`adapted_`: what few rows of a new instrument have changed in a model, and what else was tried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skfdrmfl.diagnosis.tables import aligned, each


class AdaptationTable(list[dict[str, Any]]):
    """A list of dicts of "how", "error" and "chosen", a way each, that prints as a table.

    Errors are root mean squares in the units of y on the `n_rows` new rows, each left out. `how` is what was chosen,
    and y' = `slope` * y_hat + `bias` in the units of y, beside what "head" adds. Of several outputs all these are
    lists. `axis` has of each modality that is read anew "shift", in channels, "gain" and "offset": gain * x(j - shift)
    + offset.
    """

    def __init__(
        self, rows: Sequence[dict[str, Any]], how: Any, n_rows: int, slope: Any, bias: Any, axis: dict[str, Any]
    ):
        super().__init__(rows)
        self.how, self.n_rows, self.slope, self.bias, self.axis = how, n_rows, slope, bias, axis

    def __repr__(self) -> str:
        cells = [["how", f"error on {self.n_rows} rows, each left out"]]
        for row in self:
            errors = zip(each(row["error"]), each(row["chosen"]), strict=True)
            cells.append([row["how"], ", ".join(f"{error:.4g}{'*' * bool(chosen)}" for error, chosen in errors)])
        done = [
            f"{name} {', '.join(f'{x:.4g}' for x in each(of))}"
            for name, of in (("slope", self.slope), ("bias", self.bias))
        ]
        for name, read in self.axis.items():
            shift, gain, offset = read["shift"], read["gain"], read["offset"]
            done.append(f"{name} shifted by {shift:.2f} channels, times {gain:.4g}, plus {offset:.4g}")
        return "\n".join([*aligned(cells), f"* chosen: {', '.join(done)}"])
