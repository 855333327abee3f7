"""Views: row-wise pre-treatments of a modality's columns, by the names that `pretreatment` has for them."""

from skfdrmfl.views.base import View
from skfdrmfl.views.savitzky_golay import SavitzkyGolay
from skfdrmfl.views.snv import SNV
from skfdrmfl.views.within import Chain

_FIRST, _SECOND = SavitzkyGolay(1), SavitzkyGolay(2)
# A new view has a file of its own and its place here.
VIEWS: dict[str, View] = {view.name: view for view in (SNV(), _FIRST, _SECOND, Chain(SNV(), _FIRST))}
