"""The model: server and clients must have the same."""

from skfdrmfl import FDRMFLTransformer

estimator = FDRMFLTransformer(
    n_rounds=10,  # few rounds of many epochs: each round takes seconds, however short it is
    local_epochs=30,
    random_state=0,
    checkpoint_path="spectra.checkpoint",  # a run that was stopped goes on from here
    checkpoint_every=1,
    verbose=2,
)
