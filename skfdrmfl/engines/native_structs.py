"""What `native.c` reads and writes, field for field as there: its limits, terms and settings, and its structures."""

from __future__ import annotations

from ctypes import POINTER, Structure, c_double, c_int64, c_void_p

LANES, MOST_LAYERS, MOST_MODALITIES, MOST_MODELS, MOST_ROWS = 16, 16, 64, 64, 1 << 24
# The terms and the settings that `native.c` knows, in its order.
TERMS = ("mse", "mi", "kl", "contrastive", "mi_nwj", "loss")
SETTINGS = (
    *("learning_rate", "weight_decay", "input_l1", "mi_weight", "kl_weight", "contrastive_weight", "temperature"),
    *("modality_dropout", "proximal_weight", "server_learning_rate"),
)


class CLayer(Structure):
    """A layer: where its weight and bias stand among the parameters, and what a convolution sees."""

    _fields_ = [
        *((name, c_int64) for name in ("n_in", "n_out", "ld", "weight", "bias", "n_places")),
        ("taken", c_void_p),
    ]


class CTable(Structure):
    """The vectors of categories."""

    _fields_ = [
        *((name, c_int64) for name in ("n_codes", "size", "first", "n_numbers")),
        *((name, c_void_p) for name in ("vectors", "n_categories")),
    ]


class CPart(Structure):
    """An encoder, the fusion's last layer, the head or the critic."""

    _fields_ = [
        *((name, c_int64) for name in ("n_layers", "n_in", "n_out", "n_asked", "has_skip", "thinned", "n_thinned")),
        ("layers", POINTER(CLayer)),
        ("skip", POINTER(CLayer)),
        ("table", CTable),
    ]


class CFusion(Structure):
    """How codes are pooled."""

    _fields_ = [
        *((name, c_int64) for name in ("n_pooled", "n_shares", "n_alike")),
        ("scale", c_double),
        ("scores", POINTER(CLayer)),
    ]


class CNetwork(Structure):
    """The network."""

    _fields_ = [
        *((name, c_int64) for name in ("n_modalities", "d", "c", "q", "n_parameters", "n_columns", "x_ld")),
        ("columns", c_void_p),
        ("parts", POINTER(CPart)),
        ("fusion", CFusion),
    ]


class CClients(Structure):
    """The replicas that train, their rows and settings."""

    _fields_ = [
        *((name, c_void_p) for name in ("x", "y", "present", "rows", "offsets", "runs", "seeds", "positions")),
        ("settings", c_void_p),
        *((name, c_int64) for name in ("batch_size", "n_epochs", "trains", "n_runs")),
        ("references", c_void_p),
        ("reference_round", c_void_p),
        ("n_models", c_int64),
    ]


class CBroadcast(Structure):
    """What is sent out in a round."""

    _fields_ = [
        ("models", c_void_p * MOST_MODELS),
        ("n_models", c_int64),
        ("round_index", c_int64),
        ("rate_factor", c_double),
        ("shift", c_void_p),
    ]


class CRounds(Structure):
    """Rounds in the server's place, and where a call stands among them."""

    _fields_ = [
        *((name, c_int64) for name in ("n_rounds", "n_replicas", "history_size")),
        *(
            (name, c_void_p)
            for name in ("participants", "starts", "rate_factors", "weights", "terms", "moved", "steps")
        ),
        ("n_block", c_int64),
        *((name, c_void_p) for name in ("block", "sums")),
        ("n_slots", c_int64),
        *((name, c_void_p) for name in ("moments", "controls", "n_adam_steps")),
        *((name, c_int64) for name in ("round", "n_answered", "hit_nonfinite")),
    ]
