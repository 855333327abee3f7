"""A site as a process of its own, which alone holds rows, estimator, policy and record, and answers on a socket."""
