/* Local training, and whole rounds in the server's place, in C: what the other engines do, faster.

   The network in PyTorch is the definition; nobody needs this file to learn the method. The letters are those of
   `equations/`: c entries of Z, d entries of a code mu, q outputs, M modalities, B rows of a batch; T is the critic,
   d_x the derivative of what is minimised with respect to x. A client is trained by itself, from its first step to its
   last, so that its bits depend on no other and on no number of threads. What it computes with stands in
   `native_matrices.h`. */

#include "native_matrices.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))
enum { MOST_LAYERS = 16, MOST_MODALITIES = 64, MOST_MODELS = 64 };
enum { MSE, MI, KL, CONTRASTIVE, NWJ, LOSS, N_TERMS };

/* ---------------------------------------------------------------- what Python passes, field for field as there */

typedef struct { /* where weight and bias stand among a client's parameters */
    whole n_in, n_out, ld, weight, bias, n_places;
    const whole *taken; /* of a convolution the features that it sees, (n_in, n_places), or NULL: one place sees all */
} Layer;
typedef struct { /* `encoders/_categorical.py`: vectors in the place of the codes that inputs begin with */
    whole n_codes, size, first, n_numbers; /* entries of a vector; where all begin among the parameters, how many */
    const whole *vectors, *n_categories;   /* of each code: where its vectors begin, and how many it knows */
} Table;
typedef struct { /* `method/mlp.py`, `encoders/` */
    whole n_layers, n_in, n_out, n_asked; /* inputs, vectors among them; the first inputs whose gradient is wanted */
    whole has_skip, thinned, n_thinned;   /* the first layer's last rows; what the penalty on inputs thins */
    const Layer *layers, *skip;           /* a skip that is a matrix of its own, or NULL */
    Table table;
} Part;
typedef struct { /* `method/fusion.py`; their equations stand at `pool` */
    whole n_pooled, n_shares, n_alike; /* entries of the pooled code, shares of each modality, entries of each share */
    double scale;
    const Layer *scores; /* of each modality, or NULL */
} Fusion;
typedef struct {
    whole n_modalities, d, c, q, n_parameters, n_columns, x_ld;
    const whole *columns; /* where each modality begins in a row of x that is padded to x_ld */
    const Part *parts;    /* the encoders, then the fusion's affine map, head and critic */
    Fusion fusion;
} Network;
typedef struct {
    double learning_rate, weight_decay, input_l1, mi_weight, kl_weight, contrastive_weight, temperature;
    double modality_dropout, proximal_weight, server_learning_rate;
} Settings;
typedef struct { /* replicas: clients of runs */
    const real *x, *y;
    const uint8_t *present; /* (N, M), or NULL: rows have all modalities */
    const whole *rows, *offsets, *runs;
    const uint64_t *seeds, *positions;
    const Settings *settings; /* of each run */
    whole batch_size, n_epochs, trains, n_runs;
    real *references;       /* (rows of replicas, n_models, c): unit Z under recent models, the latest first */
    whole *reference_round; /* of each replica, the latest round they are of; -1: none yet */
    whole n_models;
} Clients;
typedef struct {
    const real *models[MOST_MODELS]; /* (runs, D) each, the latest first */
    whole n_models, round_index;
    double rate_factor;
    const real *shift; /* (replicas, D), or NULL */
} Broadcast;

/* ------------------------------------------------ layers (method/mlp.py, encoders/_conv.py), forward and back */

typedef struct { real *out[MOST_LAYERS], *slope[MOST_LAYERS], *d[MOST_LAYERS], *seen[MOST_LAYERS], *turned; } Tape;

/* Rows of a layer's output that go through silu: all but those of a skip, and none of the last layer. */
INLINE whole n_gated(const Part *p, whole l) {
    return l == p->n_layers - 1 ? 0 : p->layers[l].n_out - (l == 0 && p->has_skip ? p->n_out : 0);
}

/* silu(a) = a s(a) in place of a, and its slope s + a s (1 - s), where s is the sigmoid. */
static void silu(real *restrict out, real *restrict slope, whole n) {
    for (whole i = 0; i < n; i += V) {
        vector *value = (vector *)(out + i), share = reciprocal((real)1 + bounded_exponential(-*value));
        *value *= share;
        *(vector *)(slope + i) = share + *value * ((real)1 - share);
    }
}

/* What a convolution sees of features a (., lanes) at all its places, side by side: (n_in, n_places * lanes). Places are
   lanes to its layer; its output (n_out, n_places * lanes) is n_out * n_places features to the next one. */
static const real *seen(const Layer *y, real *out, const real *a, whole lanes) {
    EACH(i, y->n_in * y->n_places) copy(out + i * lanes, a + y->taken[i] * lanes, lanes);
    return out;
}

/* Writes the gradient of the features a, given that of what is `seen` of them. */
static void seen_backward(const Layer *y, const real *d_seen, real *d, whole n_features, whole lanes) {
    memset(d, 0, n_features * lanes * sizeof(real));
    EACH(i, y->n_in * y->n_places) {
        real *restrict to = d + y->taken[i] * lanes;
        EACH(l, lanes) to[l] += d_seen[i * lanes + l];
    }
}

static const real *forward(const Part *p, const Tape *tape, const real *w, const real *x, whole lanes) {
    const real *a = x;
    EACH(l, p->n_layers) {
        const Layer *y = p->layers + l;
        whole n = y->n_places * lanes;
        if (y->taken) a = seen(y, tape->seen[l], a, lanes);
        product(tape->out[l], n, y->n_out, w + y->weight, y->ld, 1, a, n, y->n_in, n, w + y->bias, 0);
        silu(tape->out[l], tape->slope[l], n_gated(p, l) * n);
        a = tape->out[l];
    }
    real *last = tape->out[p->n_layers - 1];
    const real *skipped = p->has_skip ? tape->out[0] + n_gated(p, 0) * lanes : p->skip ? tape->turned : 0;
    if (p->skip) {
        const Layer *y = p->skip;
        product(tape->turned, lanes, y->n_out, w + y->weight, y->ld, 1, x, lanes, y->n_in, lanes, 0, 0);
    }
    EACH(i, skipped ? p->n_out * lanes : 0) last[i] += skipped[i];
    return last;
}

/* Writes the gradient of a weight that a (n_in, lanes) is multiplied with, given that of the product. `rows_first` is a
   with rows first, (lanes, ld), or NULL: it is turned in `room`. */
static void weight_gradient(const Layer *y, real *g, const real *d, const real *a, const real *rows_first, whole ld,
                            real *room, whole lanes, whole n_rows) {
    if (y->n_out <= FEW) return dots(g + y->weight, 1, y->ld, a, y->n_in, d, y->n_out, lanes);
    if (y->n_in <= FEW) return dots(g + y->weight, y->ld, 1, d, y->n_out, a, y->n_in, lanes);
    if (!rows_first) ld = turn(room, a, y->n_in, lanes), rows_first = room;
    /* what lies beyond n_in are zeros, and stay so */
    product(g + y->weight, y->ld, y->n_out, d, lanes, 1, rows_first, ld, n_rows, rounded(y->n_in), 0, 0);
}

/* Writes the gradients of the part's parameters to g, and that of its first `n_asked` inputs to d_x. `turned` is the
   input with rows first, (lanes, turned_ld), or NULL. */
static void backward(const Part *p, const Tape *tape, const real *w, real *g, const real *x, const real *turned,
                     whole turned_ld, const real *d_out, real *d_x, whole lanes, whole n_rows) {
    if (p->skip) weight_gradient(p->skip, g, d_out, x, turned, turned_ld, tape->turned, lanes, n_rows);
    const real *d = d_out;
    for (whole l = p->n_layers - 1; l >= 0; l--) {
        const Layer *y = p->layers + l;
        whole n = y->n_places * lanes, n_before = l ? y[-1].n_out * y[-1].n_places : p->n_asked;
        const real *a = y->taken ? tape->seen[l] : l ? tape->out[l - 1] : x, *slope = l ? tape->slope[l - 1] : 0;
        const real *rows_first = l || y->taken ? 0 : turned;
        weight_gradient(y, g, d, a, rows_first, turned_ld, tape->turned, n, y->taken ? n : n_rows);
        row_sums(g + y->bias, d, y->n_out, n);
        if (!n_before) return;
        real *d_before = l ? tape->d[l - 1] : d_x;
        if (y->taken) {
            product(tape->turned, n, y->n_in, w + y->weight, 1, y->ld, d, n, y->n_out, n, 0, 0);
            seen_backward(y, tape->turned, d_before, n_before, lanes);
            EACH(i, n_before * lanes) d_before[i] *= slope[i];
        } else {
            if (l == 1 && p->has_skip) n_before -= p->n_out;
            product(d_before, lanes, n_before, w + y->weight, 1, y->ld, d, lanes, y->n_out, lanes, 0, slope);
            if (l == 1 && p->has_skip) memcpy(d_before + n_before * lanes, d_out, p->n_out * lanes * sizeof(real));
        }
        d = d_before;
    }
}

/* -------------------------------------------------------------------------------------- one batch, and its codes */

typedef struct { /* the memory in which one thread trains one client after another */
    real *g, *first, *second;
    real *x, *x_turned, *weights, *pairs, *codes, *mask, *shares, *pooled;
    real *d_codes, *d_z, *d_pairs, *d_out, *d_t, *d_shares, *partial, *values, *mean, *turned;
    real *references;
    uint64_t *order, *spare;
    uint32_t *places;
    whole *numbers, *chosen, n_chosen, most_lanes; /* where the vectors of the n_chosen codes of each row stand */
    Tape *tapes;
} Space;

typedef struct { whole n_rows, lanes; const whole *rows; } Batch; /* `rows` are numbers of the client's own rows */

/* Writes the vectors that stand for codes, and where in w they are. Behind those of the codes 0 .. n - 1 of a column is
   one for all other numbers. */
static void embed(const Table *t, const real *w, const real *codes, real *out, whole *chosen) {
    EACH(k, t->n_codes) {
        whole n = t->n_categories[k], code = codes[k] >= 0 && codes[k] < (real)n ? (whole)codes[k] : n;
        chosen[k] = t->vectors[k] + ((real)code == codes[k] ? code : n) * t->size;
        copy(out + k * t->size, w + chosen[k], t->size);
    }
}

/* Writes the gradient of the vectors to g, given that of the inputs that they are; `turned` is a place for these with
   rows first. `chosen` are those of the first row, n_chosen before those of the next. */
static void embed_backward(const Table *t, real *g, const real *d_x, real *turned, const whole *chosen, whole n_chosen,
                           whole lanes, whole n_rows) {
    memset(g + t->first, 0, t->n_numbers * sizeof(real));
    whole ld = turn(turned, d_x, t->n_codes * t->size, lanes);
    EACH(l, n_rows) EACH(k, t->n_codes) {
        real *restrict of_vector = g + chosen[l * n_chosen + k];
        EACH(j, t->size) of_vector[j] += turned[l * ld + k * t->size + j];
    }
}

/* Gathers the rows of a batch: x, its codes as vectors among the parameters w, y beside y shifted cyclically, and each
   row's share. */
static void gather(const Network *net, const Clients *c, Space *s, const real *w, Batch b, const whole *rows,
                   double share) {
    whole lanes = b.lanes, q = net->q;
    real *y = s->pairs + net->c * 2 * lanes;
    EACH(l, lanes) {
        whole row = rows[b.rows[l < b.n_rows ? l : 0]];
        const real *from = c->x + row * net->n_columns;
        whole *chosen = s->chosen + l * s->n_chosen;
        EACH(m, net->n_modalities) {
            const Table *t = &net->parts[m].table;
            real *to = s->x + l * net->x_ld + net->columns[m];
            whole n_vectors = t->n_codes * t->size, n_numbers = net->parts[m].n_in - n_vectors;
            embed(t, w, from, to, chosen);
            copy(to + n_vectors, from + t->n_codes, n_numbers);
            from += t->n_codes + n_numbers, chosen += t->n_codes;
        }
        EACH(k, q) y[k * 2 * lanes + l] = c->y[row * q + k];
        s->weights[l] = l < b.n_rows ? (real)share : 0;
        EACH(m, c->present ? net->n_modalities : 0) s->mask[m * lanes + l] = c->present[row * net->n_modalities + m];
    }
    EACH(k, q) EACH(l, lanes) y[(2 * k + 1) * lanes + l] = y[2 * k * lanes + (l + 1 < b.n_rows ? l + 1 : 0)];
    transpose(s->x_turned, lanes, s->x, net->x_ld, lanes, net->x_ld);
}

/* Codes of the batch, zero where a row lacks the modality. */
static void encode(const Network *net, Space *s, const real *w, whole lanes, int masked) {
    EACH(m, net->n_modalities) {
        const Part *p = net->parts + m;
        real *mu = s->codes + m * net->d * lanes;
        s->tapes[m].out[p->n_layers - 1] = mu;
        forward(p, s->tapes + m, w, s->x_turned + net->columns[m] * lanes, lanes);
        if (masked) EACH(j, net->d) EACH(l, lanes)
            mu[j * lanes + l] = s->mask[m * lanes + l] > 0 ? mu[j * lanes + l] : 0;
    }
}

/* ---------------------------------------------------------------- fusion (method/fusion.py), forward and back */

/* The softmax, over the modalities that a row has, of the scores W_m mu_m * scale + b_m: of zeros where there are none.
   What a row lacks has a share of zero. */
static void shares(const Network *net, Space *s, const real *w, whole lanes, int masked) {
    const Fusion *f = &net->fusion;
    whole M = net->n_modalities, n = f->n_shares * lanes;
    EACH(m, M) {
        real *score = s->shares + m * n;
        const real *mask = s->mask + m * lanes;
        if (f->scores) {
            const Layer *y = f->scores + m;
            const real *mu = s->codes + m * net->d * lanes;
            product(score, lanes, y->n_out, w + y->weight, y->ld, 1, mu, lanes, y->n_in, lanes, 0, 0);
            EACH(k, f->n_shares) EACH(l, lanes)
                score[k * lanes + l] = score[k * lanes + l] * (real)f->scale + w[y->bias + k];
        } else
            memset(score, 0, n * sizeof(real));
        if (masked) EACH(k, f->n_shares) EACH(l, lanes)
            score[k * lanes + l] = mask[l] > 0 ? score[k * lanes + l] : -(real)INFINITY;
    }
    EACH(k, f->n_shares) {
        real *restrict most = s->values, *restrict total = s->values + lanes, *first = s->shares + k * lanes;
        EACH(l, lanes) most[l] = -FLT_MAX, total[l] = 0;
        EACH(m, M) EACH(l, lanes) most[l] = first[m * n + l] > most[l] ? first[m * n + l] : most[l];
        EACH(m, M) EACH(l, lanes) {
            first[m * n + l] = exponential(first[m * n + l] - most[l]);
            total[l] += first[m * n + l];
        }
        EACH(l, lanes) total[l] = total[l] > 0 ? total[l] : 1; /* a row that has no modality */
        EACH(m, M) EACH(l, lanes) first[m * n + l] /= total[l];
    }
}

/* The pooled code of a row, from the codes of the modalities that it has (`fusion.Fusion`):

       concat      [mu_1, .., mu_M], zeros for those that it lacks
       mean        sum_m s_m mu_m, s_m = 1 / (how many it has)
       gated       sum_m s_m mu_m entry by entry, s_m = softmax over m of W_m mu_m + b_m
       attention   [a_1, .., a_h], a_j = sum_m s_mj mu_m, s_j = softmax over m of q_j mu_m / sqrt(d) + b_jm

   The last three differ in how many shares a modality has: 1, d or h; entry e is the sum of share e / n_alike times
   entry e mod d of the code. */
static const real *pool(const Network *net, Space *s, const real *w, whole lanes, int masked) {
    const Fusion *f = &net->fusion;
    whole M = net->n_modalities, d = net->d;
    if (!f->n_shares) return s->codes;
    shares(net, s, w, lanes, masked);
    memset(s->pooled, 0, f->n_pooled * lanes * sizeof(real));
    EACH(e, f->n_pooled) EACH(m, M) {
        const real *share = s->shares + (m * f->n_shares + e / f->n_alike) * lanes;
        const real *mu = s->codes + (m * d + e % d) * lanes;
        real *restrict pooled = s->pooled + e * lanes;
        EACH(l, lanes) pooled[l] += share[l] * mu[l];
    }
    return s->pooled;
}

/* Writes the gradients of W and b to g, and adds that of the codes to d_codes. */
static void pool_backward(const Network *net, Space *s, const real *w, const real *d_pooled, whole lanes, int masked,
                          whole n_rows) {
    const Fusion *f = &net->fusion;
    whole M = net->n_modalities, d = net->d, n = f->n_shares * lanes;
    if (!f->n_shares) {
        EACH(m, M) EACH(j, d) EACH(l, lanes) {
            whole i = (m * d + j) * lanes + l;
            s->d_codes[i] += masked && !(s->mask[m * lanes + l] > 0) ? 0 : d_pooled[i];
        }
        return;
    }
    memset(s->d_shares, 0, M * n * sizeof(real));
    EACH(e, f->n_pooled) EACH(m, M) {
        whole at = (m * f->n_shares + e / f->n_alike) * lanes, of = (m * d + e % d) * lanes;
        const real *share = s->shares + at, *mu = s->codes + of, *d_entry = d_pooled + e * lanes;
        real *restrict d_share = s->d_shares + at, *restrict d_mu = s->d_codes + of;
        EACH(l, lanes) {
            d_share[l] += d_entry[l] * mu[l];
            d_mu[l] += d_entry[l] * share[l];
        }
    }
    if (!f->scores) return;
    EACH(k, f->n_shares) { /* of a softmax: d_score_m = s_m (d_s_m - sum_n s_n d_s_n) */
        real *restrict along = s->values, *restrict d_share = s->d_shares + k * lanes;
        const real *share = s->shares + k * lanes;
        memset(along, 0, lanes * sizeof(real));
        EACH(m, M) EACH(l, lanes) along[l] += share[m * n + l] * d_share[m * n + l];
        EACH(m, M) EACH(l, lanes) d_share[m * n + l] = share[m * n + l] * (d_share[m * n + l] - along[l]);
    }
    EACH(m, M) memset(s->g + f->scores[m].weight, 0, f->n_shares * f->scores[m].ld * sizeof(real));
    EACH(m, M) {
        const Layer *y = f->scores + m;
        real *d_score = s->d_shares + m * n, *d_mu = s->d_codes + m * d * lanes;
        EACH(k, y->n_out) s->g[y->bias + k] = sum_of(d_score + k * lanes, 0, lanes);
        EACH(i, n) d_score[i] *= (real)f->scale;
        whole ld = turn(s->turned, s->codes + m * d * lanes, d, lanes);
        product(s->partial, ld, y->n_out, d_score, lanes, 1, s->turned, ld, n_rows, ld, 0, 0);
        EACH(k, y->n_out) EACH(j, d) /* queries are those of all modalities */
            s->g[y->weight + k * y->ld + j] += s->partial[k * ld + j];
        product(s->partial, lanes, d, w + y->weight, 1, y->ld, d_score, lanes, y->n_out, lanes, 0, 0);
        EACH(i, d * lanes) d_mu[i] += s->partial[i];
    }
}

/* Z of the batch, and the pooled codes that it is made of. */
static const real *fuse(const Network *net, Space *s, const real *w, whole lanes, int masked, const real **pooled) {
    encode(net, s, w, lanes, masked);
    *pooled = pool(net, s, w, lanes, masked);
    return forward(net->parts + net->n_modalities, s->tapes + net->n_modalities, w, *pooled, lanes);
}

/* ---------------------------------------------------------------------------------- the objective of one batch */

/* R_mi (eq. 6) and `information.nwj` of T on both kinds of pairs, and the gradient of the first by both, in turn:

       mi = softplus(-joint) + softplus(marginal), softplus(t) = max(t, 0) + log(1 + e^-|t|), of slope sigmoid(t) */
static void information(const real *restrict joint, const real *restrict marginal, const real *restrict share,
                        double weight, real *restrict mi, real *restrict nwj, real *restrict d_t, whole lanes) {
    const vector one = (vector){0} + (real)1;
    for (whole l = 0; l < lanes; l += V) {
        vector j = *(const vector *)(joint + l), m = *(const vector *)(marginal + l), away_j = magnitude(j);
        vector away_m = magnitude(m), e_j = bounded_exponential(-away_j), e_m = bounded_exponential(-away_m);
        vector of_row = (real)weight * *(const vector *)(share + l);
        *(vector *)(mi + l) = (real)0.5 * ((away_j - j) + (away_m + m));
        *(vector *)(nwj + l) = (one + e_j) * (one + e_m);
        *(vector *)(d_t + l) = -of_row * chosen(j > 0, e_j, one) / (one + e_j);
        *(vector *)(d_t + lanes + l) = of_row * chosen(m > 0, one, e_m) / (one + e_m);
    }
    EACH(l, lanes) {
        mi[l] += logarithm(nwj[l]);
        nwj[l] = joint[l] - exponential(marginal[l]) + (real)1;
    }
}

/* The critic on pairs (z_i, y_i) and (z_i, y_{i+1}); its gradient goes to d_z. */
static void mutual_information(const Network *net, Space *s, const real *w, const real *z, whole n_rows, whole lanes,
                               double weight, double *terms) {
    const Part *critic = net->parts + net->n_modalities + 2;
    Tape *tape = s->tapes + net->n_modalities + 2;
    EACH(k, net->c) EACH(l, lanes) s->pairs[k * 2 * lanes + l] = s->pairs[k * 2 * lanes + lanes + l] = z[k * lanes + l];
    const real *t = forward(critic, tape, w, s->pairs, 2 * lanes);
    const int has_pairs = n_rows > 1; /* one row makes no marginal pair */
    information(t, t + lanes, s->weights, has_pairs ? weight : 0, s->values, s->values + lanes, s->d_t, lanes);
    if (has_pairs) {
        terms[MI] += sum_of(s->values, s->weights, lanes);
        terms[NWJ] += sum_of(s->values + lanes, s->weights, lanes);
    }
    backward(critic, tape, w, s->g, s->pairs, 0, 0, s->d_t, s->d_pairs, 2 * lanes, 2 * lanes);
    EACH(k, net->c) {
        const real *of_joint = s->d_pairs + k * 2 * lanes, *of_marginal = of_joint + lanes;
        EACH(l, lanes) s->d_z[k * lanes + l] += of_joint[l] + of_marginal[l];
    }
}

/* eq. 11 with sigma = 1, over the pairs of modalities that a row has (eq. 7 to 9, `divergence.modality_alignment`). */
static void alignment(const Network *net, Space *s, whole lanes, int masked, double weight, double *terms) {
    whole M = net->n_modalities, d = net->d;
    real *factor = s->values, *squares = s->values + lanes;
    EACH(l, lanes) {
        real n = (real)M;
        if (masked) {
            n = 0;
            EACH(m, M) n += s->mask[m * lanes + l];
        }
        factor[l] = n > 1 ? (real)1 / (n - (real)1) : 0;
        squares[l] = 0;
    }
    EACH(j, d) {
        EACH(l, lanes) s->mean[l] = 0;
        EACH(m, M) EACH(l, lanes) s->mean[l] += s->codes[(m * d + j) * lanes + l];
        EACH(l, lanes) s->mean[l] *= factor[l] > 0 ? factor[l] / ((real)1 + factor[l]) : (real)0; /* 1 / n */
        EACH(m, M) EACH(l, lanes) {
            whole i = (m * d + j) * lanes + l;
            real away = masked && !(s->mask[m * lanes + l] > 0) ? 0 : s->codes[i] - s->mean[l];
            squares[l] += away * away;
            s->d_codes[i] += away * ((real)(4 * weight) * factor[l] * s->weights[l]);
        }
    }
    EACH(l, lanes) squares[l] *= (real)2 * factor[l];
    terms[KL] += sum_of(squares, s->weights, lanes);
}

/* eq. 12: InfoNCE of z against unit Z of the same rows under the broadcast model, r_0, then under earlier ones. With
   e = z / |z| and p the softmax of s_h = e r_h / tau:

       nce = -log p_0,  d_e = sum_h (p_h - [h = 0]) r_h / tau,  d_z = (d_e - (d_e e) e) / |z| */
static void contrast(const Network *net, Space *s, const real *z, whole lanes, whole n_models, double tau,
                     double weight, double *terms) {
    const vector shortest_turned = (vector){0} + (real)1e-4; /* of `method/equations/contrast.py` */
    const whole c = net->c;
    vector cosine[MOST_MODELS], of[MOST_MODELS];
    for (whole l = 0; l < lanes; l += V) {
        const real *own = z + l, *references = s->references + l;
        vector square = {0}, total = {0}, along = {0}, most = {0};
        EACH(k, c) square += *(const vector *)(own + k * lanes) * *(const vector *)(own + k * lanes);
        vector length = length_of(square), per_length = (real)1 / length;
        EACH(h, n_models) { /* over tau */
            vector sum = {0};
            EACH(k, c) sum += *(const vector *)(references + (h * c + k) * lanes) * *(const vector *)(own + k * lanes);
            cosine[h] = sum * per_length / (real)tau;
            most = h ? larger(most, cosine[h]) : cosine[h];
        }
        EACH(h, n_models) total += of[h] = bounded_exponential(cosine[h] - most);
        EACH(h, n_models) {
            of[h] = of[h] / total - (real)(h == 0);
            along += of[h] * cosine[h];
        }
        vector of_row = (real)weight * *(const vector *)(s->weights + l) * per_length;
        of_row = chosen(length > shortest_turned, of_row, (vector){0}); /* what is too short is not turned */
        EACH(k, c) {
            vector d_e = {0}, e = *(const vector *)(own + k * lanes) * per_length;
            EACH(h, n_models) d_e += of[h] * *(const vector *)(references + (h * c + k) * lanes);
            *(vector *)(s->d_z + k * lanes + l) += (d_e / (real)tau - along * e) * of_row;
        }
        *(vector *)(s->values + l) = most - cosine[0];
        *(vector *)(s->mean + l) = total;
    }
    EACH(l, lanes) s->values[l] += logarithm(s->mean[l]);
    terms[CONTRASTIVE] += sum_of(s->values, s->weights, lanes);
}

/* `objective.local_gradient`: writes the gradient of L_k = MSE + lambda_1 R_mi + lambda_2 R_kl + lambda_3 R_fcl to g,
   and adds its terms up; z and the pooled codes are those of `fuse`. */
static void local_gradient(const Network *net, Space *s, const real *w, const real *pooled, const real *z, Batch b,
                           const Settings *o, int masked, whole n_models, double *terms) {
    whole M = net->n_modalities, lanes = b.lanes, q = net->q, c = net->c, d = net->d;
    const real *y_hat = forward(net->parts + M + 1, s->tapes + M + 1, w, z, lanes);
    memset(s->d_z, 0, c * lanes * sizeof(real));
    memset(s->d_codes, 0, M * d * lanes * sizeof(real));
    if (o->mi_weight > 0) mutual_information(net, s, w, z, b.n_rows, lanes, o->mi_weight, terms);
    if (o->kl_weight > 0 && M > 1) alignment(net, s, lanes, masked, o->kl_weight, terms);
    if (o->contrastive_weight > 0 && n_models > 1)
        contrast(net, s, z, lanes, n_models, o->temperature, o->contrastive_weight, terms);
    real *squares = s->values;
    memset(squares, 0, lanes * sizeof(real));
    EACH(k, q) EACH(l, lanes) { /* `prediction.squared_error` */
        real error = y_hat[k * lanes + l] - s->pairs[(c + k) * 2 * lanes + l];
        squares[l] += error * error;
        s->d_out[k * lanes + l] = error * ((real)(2.0 / (double)q) * s->weights[l]);
    }
    terms[MSE] += sum_of(squares, s->weights, lanes) / (double)q;
    backward(net->parts + M + 1, s->tapes + M + 1, w, s->g, z, 0, 0, s->d_out, s->d_pairs, lanes, b.n_rows);
    EACH(i, c * lanes) s->d_z[i] += s->d_pairs[i];
    backward(net->parts + M, s->tapes + M, w, s->g, pooled, 0, 0, s->d_z, s->d_out, lanes, b.n_rows);
    pool_backward(net, s, w, s->d_out, lanes, masked, b.n_rows);
    const whole *chosen = s->chosen;
    EACH(m, M) {
        const Table *t = &net->parts[m].table;
        backward(net->parts + m, s->tapes + m, w, s->g, s->x_turned + net->columns[m] * lanes, s->x + net->columns[m],
                 net->x_ld, s->d_codes + m * d * lanes, s->d_out, lanes, b.n_rows);
        if (t->n_codes) embed_backward(t, s->g, s->d_out, s->turned, chosen, s->n_chosen, lanes, b.n_rows);
        chosen += t->n_codes;
    }
}

/* ------------------------------------------------------------------------- one client (loop.LoopEngine._train) */

/* Adam with decoupled decay (`optimizers.adam_step_`), of the gradient and of what pulls at it. */
static void adam_step(whole n, real *restrict w, const real *restrict g, real *restrict first, real *restrict second,
                      const real *restrict shift, const real *restrict start, whole t, double rate, const Settings *o) {
    const real decay = 1.0 - rate * o->weight_decay, pull = o->proximal_weight;
    const real step = rate / (1.0 - pow(0.9, (double)t)), correction = 1.0 / (1.0 - pow(0.999, (double)t));
    const real smallest = sizeof(real) == 4 ? 1e-30 : 1e-300; /* whose root is far below the 1e-8 */
    for (whole i = 0; i < n; i += V) {
        vector gradient = *(const vector *)(g + i), *m = (vector *)(first + i), *v = (vector *)(second + i);
        loose *at = (loose *)(w + i);
        if (shift) gradient += *(const loose *)(shift + i);
        if (start) gradient += pull * (*at - *(const loose *)(start + i));
        *m += (gradient - *m) * (real)(1.0 - 0.9);
        *v = *v * (real)0.999 + gradient * gradient * (real)(1.0 - 0.999);
        vector square = *v * correction + smallest;
        *at = *at * decay - step * *m * reciprocal(root_of(square) + (real)1e-8);
    }
}

/* `optimizers.soft_threshold_` of each encoder's first weights. */
static void soft_threshold(const Network *net, real *w, real amount) {
    EACH(m, net->n_modalities) EACH(i, net->parts[m].n_thinned) {
        real *v = w + net->parts[m].thinned + i;
        *v = *v > amount ? *v - amount : *v < -amount ? *v + amount : 0;
    }
}

#define GOLDEN 0x9E3779B97F4A7C15u

/* The streams of `common/randomness.py`. */
INLINE uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

INLINE uint64_t counter(whole epoch, whole place) { return (((uint64_t)epoch << 32) + (uint64_t)place + 1) * GOLDEN; }

/* Writes the order of an epoch to `order`: rows sorted by 40 random bits each, ties by number. About one falls into
   each of 2^bits shelves, by its first bits; within a shelf they are inserted in order. */
static void draw_order(Space *s, uint64_t key, whole epoch, whole n) {
    uint64_t *order = s->order, *spare = s->spare;
    uint32_t *places = s->places;
    int bits = 1;
    while ((whole)1 << bits < n) bits++;
    memset(places, 0, ((size_t)1 << bits) * sizeof *places);
    EACH(i, n) {
        spare[i] = (mix(key + counter(epoch, i)) >> 24 << 24) | (uint64_t)i;
        places[spare[i] >> (64 - bits)]++;
    }
    uint32_t before = 0;
    EACH(k, (whole)1 << bits) {
        uint32_t here = places[k];
        places[k] = before;
        before += here;
    }
    EACH(i, n) order[places[spare[i] >> (64 - bits)]++] = spare[i];
    for (whole i = 1; i < n; i++) {
        uint64_t mine = order[i];
        whole at = i;
        for (; at > 0 && order[at - 1] > mine; at--) order[at] = order[at - 1];
        order[at] = mine;
    }
    EACH(i, n) order[i] &= 0xFFFFFF;
}

/* Takes modalities out of the mask of a batch, as `dropout.draw_kept` does. */
static void drop_modalities(const Network *net, Space *s, Batch b, uint64_t key, whole epoch, double probability) {
    whole M = net->n_modalities;
    EACH(l, b.lanes) {
        whole row = b.rows[l < b.n_rows ? l : 0];
        whole numbers[MOST_MODALITIES], most = -1;
        EACH(m, M) {
            numbers[m] = (whole)(mix(mix(key ^ 0xD1B54A32D192ED03u) + counter(epoch, row * M + m)) >> 11);
            if (!(s->mask[m * b.lanes + l] > 0)) numbers[m] = -1;
            most = numbers[m] > most ? numbers[m] : most;
        }
        EACH(m, M) {
            int kept = (double)numbers[m] >= probability * 9007199254740992.0 || numbers[m] == most;
            if (!kept) s->mask[m * b.lanes + l] = 0;
        }
    }
}

/* Writes unit Z of some rows of a client, under the h-th of the models, to its references. */
static void keep_references(const Network *net, const Clients *c, Space *s, whole replica, Batch b, whole h,
                            const real *z) {
    whole n = net->c;
    for (whole l = 0; l < b.lanes; l += V) {
        vector square = {0};
        EACH(k, n) square += *(const vector *)(z + k * b.lanes + l) * *(const vector *)(z + k * b.lanes + l);
        *(vector *)(s->values + l) = length_of(square);
    }
    EACH(l, b.n_rows) {
        real *mine = c->references + ((c->offsets[replica] + b.rows[l]) * c->n_models + h) * n;
        EACH(k, n) mine[k] = z[k * b.lanes + l] / s->values[l];
    }
}

/* Writes those of all rows under the models: where there are some, of the newest alone. Of this the first `n_left_out` of
   the order are left out. */
static void renew_references(const Network *net, const Clients *c, Space *s, const Broadcast *b, whole replica,
                             whole n_left_out) {
    whole n = c->offsets[replica + 1] - c->offsets[replica], width = net->c;
    const whole *rows = c->rows + c->offsets[replica];
    real *all = c->references + c->offsets[replica] * c->n_models * width;
    int has_older = c->reference_round[replica] >= 0 && c->reference_round[replica] == b->round_index - 1;
    whole n_new = has_older ? 1 : b->n_models;
    EACH(i, has_older ? n : 0) {
        real *mine = all + i * c->n_models * width;
        memmove(mine + width, mine, (size_t)((b->n_models - 1) * width) * sizeof(real));
    }
    EACH(h, n_new) {
        const real *w = b->models[h] + c->runs[replica] * net->n_parameters;
        for (whole first = h ? 0 : n_left_out; first < n; first += s->most_lanes) {
            whole n_rows = n - first < s->most_lanes ? n - first : s->most_lanes;
            EACH(i, n_rows) s->numbers[i] = n_left_out ? (whole)s->order[first + i] : first + i;
            Batch batch = {n_rows, rounded(n_rows), s->numbers};
            gather(net, c, s, w, batch, rows, 0.0);
            const real *pooled, *z = fuse(net, s, w, batch.lanes, c->present != 0, &pooled);
            keep_references(net, c, s, replica, batch, h, z);
        }
    }
    c->reference_round[replica] = b->round_index;
}

/* Trains one client; writes its parameters to w, the sum of its gradients to `sum` unless that is NULL, and the means
   of its terms. */
static void train_client(const Network *net, const Clients *c, Space *s, const Broadcast *b, whole replica, real *w,
                         real *sum, double *terms) {
    whole n = c->offsets[replica + 1] - c->offsets[replica], run = c->runs[replica], D = net->n_parameters;
    const Settings *o = c->settings + run;
    const real *start = b->models[0] + run * D;
    const real *shift = b->shift ? b->shift + replica * D : 0;
    const whole *rows = c->rows + c->offsets[replica];
    uint64_t key = mix(c->seeds[replica] + GOLDEN);
    key = mix(key + (uint64_t)(b->round_index + 1) * GOLDEN);
    key = mix(key + (c->positions[replica] + 1) * GOLDEN);
    whole n_models = o->contrastive_weight > 0 && c->references ? b->n_models : 0;
    whole n_steps = (n + c->batch_size - 1) / c->batch_size, t = 0;
    draw_order(s, key, 0, n);
    /* Of so many rows z under the newest model is that of their first batch: until a step is taken, w is that model. Of
       many batches it would save little, and rows are read faster in their own order. */
    whole n_own = !n_models || o->modality_dropout > 0 ? 0 : !c->trains ? n : n_steps && n_steps <= 8 ? n / n_steps : 0;
    if (n_models) renew_references(net, c, s, b, replica, n_own);
    int masked = c->present || o->modality_dropout > 0;
    memcpy(w, start, D * sizeof(real));
    memset(s->g, 0, D * sizeof(real));
    memset(s->first, 0, D * sizeof(real));
    memset(s->second, 0, D * sizeof(real));
    if (sum) memset(sum, 0, D * sizeof(real));
    memset(terms, 0, N_TERMS * sizeof(double));
    double rate = o->learning_rate * b->rate_factor;
    EACH(epoch, c->n_epochs) {
        if (epoch) draw_order(s, key, epoch, n);
        EACH(j, n_steps) {
            whole first = n * j / n_steps, n_rows = n * (j + 1) / n_steps - first;
            EACH(i, n_rows) s->numbers[i] = (whole)s->order[first + i];
            Batch batch = {n_rows, rounded(n_rows), s->numbers};
            gather(net, c, s, w, batch, rows, 1.0 / (double)(c->trains ? n_rows : n));
            if (masked && !c->present) EACH(i, net->n_modalities * batch.lanes) s->mask[i] = 1;
            if (o->modality_dropout > 0) drop_modalities(net, s, batch, key, epoch, o->modality_dropout);
            const real *pooled, *z = fuse(net, s, w, batch.lanes, masked, &pooled);
            if (epoch == 0 && first < n_own) keep_references(net, c, s, replica, batch, 0, z);
            EACH(l, n_models > 1 ? batch.lanes : 0) {
                whole row = c->offsets[replica] + s->numbers[l < n_rows ? l : 0];
                const real *of_row = c->references + row * c->n_models * net->c;
                EACH(j, n_models * net->c) s->references[j * batch.lanes + l] = of_row[j];
            }
            local_gradient(net, s, w, pooled, z, batch, o, masked, n_models, terms);
            if (sum) EACH(i, D) sum[i] += s->g[i];
            if (!c->trains) continue;
            adam_step(D, w, s->g, s->first, s->second, shift, o->proximal_weight > 0 ? start : 0, ++t, rate, o);
            if (o->input_l1 > 0) soft_threshold(net, w, (real)(rate * o->input_l1));
        }
    }
    if (c->trains) EACH(i, N_TERMS) terms[i] /= (double)t;
    if (c->trains && sum) EACH(i, D) sum[i] /= (real)t;
    terms[LOSS] = terms[MSE] + o->mi_weight * terms[MI] + o->kl_weight * terms[KL];
    terms[LOSS] += o->contrastive_weight * terms[CONTRASTIVE];
}

/* --------------------------------------------------------------------------- many clients, on several threads */

/* Lays the arrays of a space out in `memory`, unless that is NULL; returns the number of bytes. */
static size_t lay_out(const Network *net, const Clients *c, Space *s, whole most_rows, whole most_batch, char *memory) {
    size_t used = 0;
    whole lanes = rounded(most_batch), parts = net->n_modalities + 3, wide = LANES, n_asked = 0, n_chosen = 0;
    whole n_codes = net->n_modalities * net->d, n_pooled = net->fusion.n_pooled, n_shares = net->fusion.n_shares;
#define TAKE(pointer, n) \
    do { \
        (pointer) = memory ? (void *)(memory + used) : 0; \
        used += ((size_t)(n) * sizeof *(pointer) + 63) / 64 * 64; \
    } while (0)
    TAKE(s->tapes, parts);
    EACH(i, parts) {
        const Part *p = net->parts + i;
        if (i < net->n_modalities) n_asked = p->n_asked > n_asked ? p->n_asked : n_asked;
        n_chosen += p->table.n_codes;
        whole most = rounded(p->n_in > p->n_out ? p->n_in : p->n_out), n_times = i == parts - 1 ? 2 : 1;
        EACH(l, p->n_layers) {
            whole n = rounded(p->layers[l].n_in) * p->layers[l].n_places;
            most = n > most ? n : most;
        }
        wide = most * n_times > wide ? most * n_times : wide; /* the critic sees every row twice */
    }
    s->most_lanes = lanes, s->n_chosen = n_chosen;
    whole features = n_codes + n_pooled + net->c + net->q + n_asked;
    real *turned;
    TAKE(turned, lanes * wide);
    EACH(p, parts) EACH(l, net->parts[p].n_layers) {
        const Layer *y = net->parts[p].layers + l;
        real *out, *slope, *d, *seen;
        whole at = lanes * y->n_places * (p == parts - 1 ? 2 : 1), n = rounded(y->n_out) * at;
        TAKE(out, n);
        TAKE(slope, n);
        TAKE(d, n);
        TAKE(seen, y->taken ? rounded(y->n_in) * at : 0);
        if (!memory) continue;
        Tape *tape = s->tapes + p;
        tape->out[l] = out, tape->slope[l] = slope, tape->d[l] = d, tape->seen[l] = seen, tape->turned = turned;
    }
    TAKE(s->g, net->n_parameters);
    TAKE(s->first, net->n_parameters);
    TAKE(s->second, net->n_parameters);
    TAKE(s->x, lanes * net->x_ld);
    TAKE(s->x_turned, lanes * net->x_ld);
    TAKE(s->weights, lanes);
    TAKE(s->pairs, 2 * lanes * rounded(net->c + net->q));
    TAKE(s->codes, lanes * rounded(n_codes + 3)); /* the last code is turned four rows at a time */
    TAKE(s->pooled, lanes * rounded(n_pooled));
    TAKE(s->shares, lanes * rounded(net->n_modalities * n_shares));
    TAKE(s->d_shares, lanes * rounded(net->n_modalities * n_shares));
    TAKE(s->partial, rounded(n_shares) * rounded(net->d) + lanes * rounded(net->d));
    TAKE(s->d_codes, lanes * rounded(n_codes));
    TAKE(s->d_z, lanes * rounded(net->c));
    TAKE(s->d_pairs, 2 * lanes * rounded(net->c + net->q));
    TAKE(s->d_out, lanes * rounded(features));
    TAKE(s->d_t, 2 * lanes);
    TAKE(s->values, lanes * (c->n_models + 8));
    TAKE(s->mean, lanes);
    TAKE(s->mask, lanes * net->n_modalities);
    TAKE(s->turned, 2 * lanes * rounded(features));
    TAKE(s->references, lanes * (c->n_models + 1) * net->c);
    TAKE(s->order, most_rows);
    TAKE(s->spare, most_rows);
    TAKE(s->places, 2 * most_rows + 2); /* the next power of two, at least 2 */
    TAKE(s->numbers, most_rows > lanes ? most_rows : lanes);
    TAKE(s->chosen, lanes * n_chosen);
#undef TAKE
    return used;
}

typedef struct { /* threads that share the items of one job after another, and sleep in between */
    pthread_mutex_t lock;
    pthread_cond_t wake, rest;
    whole n_threads, n_awake, n_items, job;
    atomic_llong next;
    void (*work)(void *what, Space *space, whole item);
    void *what;
    Space *spaces;
} Team;

typedef struct { Team *team; whole number; pthread_t thread; } Member;

static void take_items(Team *team, whole number) {
    for (whole i; (i = atomic_fetch_add(&team->next, 1)) < team->n_items;)
        team->work(team->what, team->spaces + number, i);
}

static void *follow(void *member) {
    Team *team = ((Member *)member)->team;
    for (whole seen = 0;;) {
        pthread_mutex_lock(&team->lock);
        while (team->job == seen) pthread_cond_wait(&team->wake, &team->lock);
        seen = team->job;
        pthread_mutex_unlock(&team->lock);
        if (seen < 0) return 0;
        take_items(team, ((Member *)member)->number);
        pthread_mutex_lock(&team->lock);
        if (--team->n_awake == 0) pthread_cond_signal(&team->rest);
        pthread_mutex_unlock(&team->lock);
    }
}

static void share(Team *team, whole n_items, void (*work)(void *, Space *, whole), void *what) {
    team->work = work, team->what = what, team->n_items = n_items;
    atomic_store(&team->next, 0);
    if (team->n_threads > 1 && n_items > 1) {
        pthread_mutex_lock(&team->lock);
        team->job++;
        team->n_awake = team->n_threads - 1;
        pthread_cond_broadcast(&team->wake);
        pthread_mutex_unlock(&team->lock);
        take_items(team, 0);
        pthread_mutex_lock(&team->lock);
        while (team->n_awake) pthread_cond_wait(&team->rest, &team->lock);
        pthread_mutex_unlock(&team->lock);
    } else
        take_items(team, 0);
}

typedef struct { /* some clients of a round, and what they return */
    const Network *net;
    const Clients *clients;
    const Broadcast *broadcast;
    const whole *replicas;
    real *weights, *sums; /* (n, D) each; sums of gradients, or NULL */
    double *terms;        /* (n, N_TERMS) */
} Work;

static void train_one(void *what, Space *s, whole i) {
    Work *work = what;
    whole D = work->net->n_parameters;
    train_client(work->net, work->clients, s, work->broadcast, work->replicas[i], work->weights + i * D,
                 work->sums ? work->sums + i * D : 0, work->terms + i * N_TERMS);
}

/* Runs `body` with a team of threads, each with its own memory; returns what it returns, or -1 without memory. */
static whole with_team(const Network *net, const Clients *c, whole n_replicas, whole n_threads,
                       whole (*body)(Team *team, void *what), void *what) {
    whole most_rows = 1, most_batch = 1;
    EACH(r, n_replicas) {
        whole n = c->offsets[r + 1] - c->offsets[r], n_steps = (n + c->batch_size - 1) / c->batch_size;
        most_rows = n > most_rows ? n : most_rows;
        if (n) most_batch = (n + n_steps - 1) / n_steps > most_batch ? (n + n_steps - 1) / n_steps : most_batch;
    }
    Space plan;
    size_t size = lay_out(net, c, &plan, most_rows, most_batch, 0);
    Space spaces[n_threads];
    Member members[n_threads];
    char *memory = aligned_alloc(64, size * (size_t)n_threads);
    if (!memory) return -1;
    memset(memory, 0, size * (size_t)n_threads);
    EACH(i, n_threads) lay_out(net, c, spaces + i, most_rows, most_batch, memory + (size_t)i * size);
    Team team = {.n_threads = 1, .spaces = spaces};
    pthread_mutex_init(&team.lock, 0);
    pthread_cond_init(&team.wake, 0);
    pthread_cond_init(&team.rest, 0);
    for (whole i = 1; i < n_threads; i++) { /* where no more threads are to be had, those there are do the work */
        members[i] = (Member){&team, i, 0};
        if (pthread_create(&members[i].thread, 0, follow, members + i)) break;
        team.n_threads++;
    }
    whole returned = body(&team, what);
    pthread_mutex_lock(&team.lock);
    team.job = -1;
    pthread_cond_broadcast(&team.wake);
    pthread_mutex_unlock(&team.lock);
    for (whole i = 1; i < team.n_threads; i++) pthread_join(members[i].thread, 0);
    pthread_mutex_destroy(&team.lock);
    pthread_cond_destroy(&team.wake);
    pthread_cond_destroy(&team.rest);
    free(memory);
    return returned;
}

/* ------------------------------------------------------------------------------------------ what Python calls */

/* Whether this processor has what this file was compiled for. */
EXPORT int processor_can(void) {
#if defined(__AVX512F__)
    int has_512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
    has_512 = has_512 && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq");
    return has_512 && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
#elif defined(__AVX2__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
#else
    return 1;
#endif
}

/* How many terms and settings this file knows: `native.TERMS` and `native.SETTINGS`; to what rows are padded, unless a
   matrix has so few rows or columns. */
EXPORT whole n_terms(void) { return N_TERMS; }
EXPORT whole n_settings(void) { return sizeof(Settings) / sizeof(double); }
EXPORT whole step_of_rows(void) { return STEP; }
EXPORT whole few_rows(void) { return FEW; }

typedef struct { Work work; whole n; } Some;

static whole train_all(Team *team, void *what) {
    Some *some = what;
    share(team, some->n, train_one, &some->work);
    return 0;
}

/* Lets n clients train from what is broadcast; see `Work`. */
EXPORT int train_clients(const Network *net, const Clients *c, const Broadcast *b, whole n_replicas,
                         const whole *replicas, whole n, real *weights, real *sums, double *terms, whole n_threads) {
    Some some = {{net, c, b, replicas, weights, sums, terms}, n};
    return (int)with_team(net, c, n_replicas, n_threads < n ? n_threads : n, train_all, &some);
}

typedef struct { /* rounds to go through in the server's place (`plan.ServerStep`), and where it stands among them */
    whole n_rounds, n_replicas, history_size;
    const whole *participants, *starts; /* of each round, one after another; (n_rounds + 1) */
    const double *rate_factors;
    real *weights;                  /* (n_rounds, runs, D): the models after each round */
    double *terms, *moved, *steps;  /* (n_rounds, replicas, N_TERMS) and (n_rounds, replicas), (n_rounds, runs) */
    whole n_block;                  /* clients for whose answers there is room */
    real *block, *sums;             /* (n_block, D): parameters, and gradients where they are asked for, or NULL */
    whole n_slots;                  /* what the server keeps is before round t in slot t % n_slots */
    real *moments, *controls;       /* (n_slots, 2, runs, D) of Adam, (n_slots, replicas, D) of SCAFFOLD; or NULL */
    const double *n_adam_steps;     /* of each run, before */
    whole round, n_answered, hit_nonfinite; /* finished; answers in the one under way; whether something was not finite */
} Rounds;

typedef struct { Work work; Rounds *rounds; double seconds; real *mean_control; } Under; /* (runs, D) */

enum { SLICE = 4096 };

/* Bits: see docs/maintainers.md, "not fused". */
#if defined(__clang__)
#define NOT_FUSED
#pragma STDC FP_CONTRACT OFF
#else
#define NOT_FUSED __attribute__((optimize("fp-contract=off")))
#endif

typedef struct { /* parts (n, D) of some replicas, to be added to the sums of their runs (runs, D) */
    const whole *runs, *replicas;
    whole n, D;
    const real *parts;
    const double *shares; /* of each replica */
    real *sums;
} Mean;

/* Adds a slice of the parts, in the order of the replicas. Product and sum are rounded each, as numpy does: so a server
   that averages in Python comes to the same bits. */
NOT_FUSED static void add_slice(void *what, Space *s, whole i) {
    Mean *m = what;
    (void)s;
    whole D = m->D, first = i * SLICE, last = first + SLICE < D ? first + SLICE : D;
    EACH(k, m->n) {
        real *sum = m->sums + m->runs[m->replicas[k]] * D;
        const real *part = m->parts + k * D, share = m->shares[m->replicas[k]];
        for (whole j = first; j < last; j++) sum[j] += part[j] * share;
    }
}

static void add_up(Team *team, Mean mean) {
    whole n_slices = (mean.D + SLICE - 1) / SLICE;
    if (mean.n * mean.D > 200000) share(team, n_slices, add_slice, &mean);
    else EACH(i, n_slices) add_slice(&mean, 0, i);
}

/* Writes the share of each of n replicas in the rows of those of its run, and how many these are, to `totals`. */
static void weigh(const Clients *c, const whole *replicas, whole n, double *shares, double *totals) {
    memset(totals, 0, (size_t)c->n_runs * sizeof *totals);
    EACH(i, n) totals[c->runs[replicas[i]]] += (double)(c->offsets[replicas[i] + 1] - c->offsets[replicas[i]]);
    EACH(i, n) {
        whole k = replicas[i];
        shares[k] = (double)(c->offsets[k + 1] - c->offsets[k]) / totals[c->runs[k]];
    }
}

/* |a - b|^2, or |a|^2 where b is NULL. */
static double squared_distance(const real *a, const real *b, whole n) {
    double sums[LANES] = {0};
    for (whole i = 0; i < n; i += LANES) EACH(k, LANES) {
        double away = b ? a[i + k] - b[i + k] : a[i + k];
        sums[k] += away * away;
    }
    for (whole half = LANES / 2; half; half /= 2) EACH(k, half) sums[k] += sums[k + half];
    return sums[0];
}

/* The server's step of Adam from the model w along the mean in `next`, which becomes the next model. Each operation is
   rounded by itself, as in `algorithms/server_optimizers.py`. */
NOT_FUSED static void server_step(const Clients *c, const Rounds *r, whole run, const real *restrict w,
                                  real *restrict next, whole D, double rate_factor) {
    const Settings *o = c->settings + run;
    const double t = r->n_adam_steps[run] + (double)r->round + 1.0, rate = rate_factor * o->server_learning_rate;
    const real decay = c->trains ? 1.0 : 1.0 - rate * o->weight_decay, step = rate, b1 = 1.0 - 0.9, b2 = 1.0 - 0.999;
    const real of_first = 1.0 - pow(0.9, t), of_second = 1.0 - pow(0.999, t);
    const whole away = c->n_runs * D, trains = c->trains;
    const real *restrict before = r->moments + (r->round % r->n_slots * 2 * c->n_runs + run) * D;
    const real *restrict before_2 = before + away;
    real *restrict first = r->moments + ((r->round + 1) % r->n_slots * 2 * c->n_runs + run) * D;
    real *restrict second = first + away;
    EACH(i, D) {
        real gradient = trains ? w[i] - next[i] : next[i];
        first[i] = before[i] + b1 * (gradient - before[i]);
        second[i] = (real)0.999 * before_2[i] + b2 * (gradient * gradient);
        next[i] = w[i] * decay - step * (first[i] / of_first / (root(second[i] / of_second) + (real)1e-8));
    }
}

/* Lets a client train, and measures what it sends. Its control variate of the next round is its shift until then. */
static void measure(void *what, Space *s, whole i) {
    Under *u = what;
    Rounds *r = u->rounds;
    const Clients *c = u->work.clients;
    whole replica = u->work.replicas[i], run = c->runs[replica], D = u->work.net->n_parameters;
    whole at = r->round * r->n_replicas + replica;
    real *control = r->controls ? r->controls + ((r->round + 1) % r->n_slots * r->n_replicas + replica) * D : 0;
    if (control) EACH(j, D) control[j] = u->mean_control[run * D + j] - control[j];
    train_one(&u->work, s, i);
    if (control) memcpy(control, u->work.sums + i * D, (size_t)D * sizeof(real));
    memcpy(r->terms + at * N_TERMS, u->work.terms + i * N_TERMS, N_TERMS * sizeof(double));
    r->moved[at] = c->trains ? squared_distance(u->work.weights + i * D, u->work.broadcast->models[0] + run * D, D)
                             : squared_distance(u->work.sums + i * D, 0, D);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static whole go_on(Team *team, void *what) {
    Under *u = what;
    Rounds *r = u->rounds;
    const Network *net = u->work.net;
    const Clients *c = u->work.clients;
    const Broadcast *first = u->work.broadcast;
    Broadcast b = *first;
    whole D = net->n_parameters, R = r->n_replicas, of_models = c->n_runs * D;
    u->work.broadcast = &b;
    double until = now() + u->seconds;
    double *shares = malloc((size_t)R * sizeof *shares), *all_shares = malloc((size_t)R * sizeof *shares);
    double *totals = malloc((size_t)c->n_runs * sizeof *totals);
    whole *everyone = malloc((size_t)R * sizeof *everyone);
    u->work.terms = malloc((size_t)(r->n_block * N_TERMS) * sizeof(double));
    u->mean_control = malloc((size_t)(r->controls ? of_models : 1) * sizeof(real));
    u->work.weights = r->block, u->work.sums = r->sums;
    if (!shares || !all_shares || !totals || !everyone || !u->work.terms || !u->mean_control) r->hit_nonfinite = 1;
    EACH(k, r->hit_nonfinite ? 0 : R) everyone[k] = k;
    if (r->controls && !r->hit_nonfinite) weigh(c, everyone, R, all_shares, totals);
    for (; r->round < r->n_rounds && !r->hit_nonfinite; r->round++, r->n_answered = 0) {
        /* The models before this round, the latest first: of rounds in this call, then of those before. */
        b.round_index = first->round_index + r->round;
        b.rate_factor = r->rate_factors[r->round];
        whole n_models = first->n_models + r->round;
        b.n_models = n_models < r->history_size + 1 ? n_models : r->history_size + 1;
        EACH(h, b.n_models)
            b.models[h] = h < r->round ? r->weights + (r->round - 1 - h) * of_models : first->models[h - r->round];
        real *average = r->weights + r->round * of_models;
        if (r->n_answered == 0) memset(average, 0, (size_t)of_models * sizeof(real));
        if (r->controls) {
            real *controls = r->controls + r->round % r->n_slots * R * D;
            real *next = r->controls + (r->round + 1) % r->n_slots * R * D;
            if (r->n_answered == 0) memcpy(next, controls, (size_t)(R * D) * sizeof(real));
            memset(u->mean_control, 0, (size_t)of_models * sizeof(real));
            add_up(team, (Mean){c->runs, everyone, R, D, controls, all_shares, u->mean_control});
            b.shift = next;
        }
        const whole *participants = r->participants + r->starts[r->round];
        whole n = r->starts[r->round + 1] - r->starts[r->round];
        weigh(c, participants, n, shares, totals);
        while (r->n_answered < n) {
            whole n_now = n - r->n_answered < r->n_block ? n - r->n_answered : r->n_block;
            u->work.replicas = participants + r->n_answered;
            share(team, n_now, measure, u);
            EACH(i, n_now) if (!isfinite(u->work.terms[i * N_TERMS + LOSS]) ||
                               !isfinite(r->moved[r->round * R + u->work.replicas[i]])) r->hit_nonfinite = 1;
            if (r->hit_nonfinite) break;
            const real *sent = c->trains ? r->block : r->sums;
            add_up(team, (Mean){c->runs, u->work.replicas, n_now, D, sent, shares, average});
            r->n_answered += n_now;
            if (now() > until && r->n_answered < n) goto late;
        }
        if (r->hit_nonfinite) break;
        EACH(run, c->n_runs) {
            real *model = average + run * D;
            const real *before = b.models[0] + run * D;
            if (totals[run] == 0) {
                memcpy(model, before, (size_t)D * sizeof(real));
                continue;
            }
            double step = squared_distance(model, c->trains ? before : 0, D);
            r->steps[r->round * c->n_runs + run] = step;
            if (r->moments) {
                server_step(c, r, run, before, model, D, b.rate_factor);
                step = squared_distance(model, before, D);
            }
            if (!isfinite(step)) r->hit_nonfinite = 1;
        }
        if (r->hit_nonfinite) break;
        if (now() > until) {
            r->round++, r->n_answered = 0;
            break;
        }
    }
late:
    free(shares);
    free(all_shares);
    free(totals);
    free(everyone);
    free(u->work.terms);
    free(u->mean_control);
    return 0;
}

/* Goes through rounds in the server's place, for about so many seconds: call it again until `round` is `n_rounds`. What
   a round was not finite in is left to the caller: it stops before that one, `hit_nonfinite`. */
EXPORT int train_rounds(const Network *net, const Clients *c, const Broadcast *b, Rounds *rounds, double seconds,
                        whole n_threads) {
    Under under = {.work = {.net = net, .clients = c, .broadcast = b}, .rounds = rounds, .seconds = seconds};
    return (int)with_team(net, c, rounds->n_replicas, n_threads, go_on, &under);
}
