"""
A fit that is killed goes on
============================

**To see:** a process that trains is killed with signal 9 in the middle; started again, it goes on from its file,
and ends in the same bits as one that nobody disturbed.
"""

# %%
# The fit, as a script of its own. ``checkpoint_path`` is all it takes.

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import load_tecator, make_client_ids

folder = Path(tempfile.mkdtemp())
script = f"""
from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import load_tecator, make_client_ids

X, y = load_tecator(return_X_y=True)
model = FDRMFLTransformer(
    n_rounds=200, random_state=0, checkpoint_path=r"{folder / "run.npz"}", checkpoint_every=20
)
model.fit(X, y, client_ids=make_client_ids(y, 3, random_state=0)).save(r"{folder / "model.npz"}")
"""

# %%
# Kill it as soon as its file is there, then run it again to the end.

process = subprocess.Popen([sys.executable, "-c", script])
while process.poll() is None and not (folder / "run.npz").exists():
    time.sleep(0.01)
time.sleep(0.5)
os.kill(process.pid, signal.SIGKILL)
print("ended by signal", -process.wait())
subprocess.run([sys.executable, "-c", script], check=True)
resumed = FDRMFLTransformer.load(folder / "model.npz")

# %%
# The same without a kill, in this process and without a file.

X, y = load_tecator(return_X_y=True)
client_ids = make_client_ids(y, 3, random_state=0)
undisturbed = FDRMFLTransformer(n_rounds=200, random_state=0, tuning=None).fit(X, y, client_ids=client_ids)
print("equal bits:", np.array_equal(resumed.transform(X), undisturbed.transform(X)))

fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.plot(undisturbed.history_["mse"], color="0.7", linewidth=5, label="undisturbed")
ax.plot(resumed.history_["mse"], color="#0072B2", linewidth=1, label="killed and started again")
ax.set_yscale("log")
ax.set_xlabel("round")
ax.set_ylabel("training error, standardised")
ax.legend()
plt.show()
