"""The model: server and clients must have the same."""

from skfdrmfl import FDRMFLTransformer

estimator = FDRMFLTransformer(
    algorithm="scaffold",
    n_rounds=15,
    local_epochs=30,
    random_state=0,
    checkpoint_path="spectra.checkpoint",  # a run that was stopped goes on from here
    checkpoint_every=1,
    verbose=2,
    tuning=None,
)
