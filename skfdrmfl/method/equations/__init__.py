"""The equations of the method: pure functions, one place each.

Every function takes tensors whose last axes are rows and features and returns one value a row, `moments_alignment` one
a batch; `skfdrmfl.method.objective` weighs rows and terms. The values are differentiable: their gradient is autograd's.

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

Each equation's number, that of arXiv 2512.02076, stands in the docstring of one function.
"""
