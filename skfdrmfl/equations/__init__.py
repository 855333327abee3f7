"""The equations of the method: pure functions, one place each, gradients behind values.

Every function takes tensors whose last axes are rows and features and returns one value a row, `moments_alignment` one
a batch; `skfdrmfl.model.objective` weighs rows and terms. What is trained has a `..._gradient` twin, which returns the
derivative of each value with respect to the named argument. The values are differentiable: autograd checks the twins,
and is what the loop engine trains with.

Glossary of the paper's letters, used in every kernel
    C       clients (replicas) stacked along the leading axis
    B       rows of a batch; padded rows have weight zero
    M, m    modalities
    d       entries of one modality's code mu (`modality_dim`)
    c       entries of Z (`n_components`)
    q       outputs, columns of y
    H       earlier global models kept as negatives (`history_size`)
    D       parameters of one network, in one flat vector
    mu      codes h_m(x^m)           Z   fused features g(mu_1, .., mu_M)
    T       critic T(z, y)           w   row weights, summing to one over a client's batch
    tau     temperature              s   variances of a code's entries
    d_...   derivative of what is minimised with respect to ...

Each equation's number, that of arXiv 2512.02076, stands in the docstring of one function.
"""
