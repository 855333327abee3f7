"""
What crossed the wire
=====================

**To see:** a fit of one network at three clients sends some megabytes, nearly all of it models and parameters, round
after round. The sums of preprocessing are a few exchanges before the first round. No message holds rows.
"""

# %%
# The log has a record for each kind of message and round.

import matplotlib.pyplot as plt
import pandas as pd

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import load_tecator, make_client_ids

X, y = load_tecator(return_X_y=True)
model = FDRMFLTransformer(random_state=0, tuning=None).fit(X, y, client_ids=make_client_ids(y, 3, random_state=0))
print(model.federation_log_)

# %%
messages = pd.DataFrame(model.federation_log_)
by_kind = messages.groupby(["what", "direction"])["bytes"].sum().sort_values()
fig, ax = plt.subplots(figsize=(8, 4.5), layout="constrained")
colours = ["#E69F00" if direction == "down" else "#0072B2" for _, direction in by_kind.index]
ax.barh([what for what, _ in by_kind.index], by_kind, color=colours)
ax.set_xscale("log")
ax.set_xlabel("bytes, three clients together (blue: to the server, orange: to the clients)")
plt.show()

# %%
# By client:

pd.DataFrame(model.federation_log_.by_client())
