#!/usr/bin/env bash
# flwr-datasets' shards leave rows out of the federation, the highest y among them, without a word.
#
# Versions: flwr-datasets 0.6.1, datasets 4.8.5.
# Expectation (guess 241, 50 %): each of 215 rows lies in one of ten partitions, or what is left out is said.
# Behaviour: with `num_shards_per_partition` a shard has floor(rows / shards) rows, sorted by `partition_by`. What is over is in no partition:
# the last of the order, the highest y, and with enough left over a whole shard from anywhere. IidPartitioner and DirichletPartitioner lose
# none. With `shard_size` and `keep_incomplete_shard=True` none are lost.
# Seen (215 rows, ten partitions):
#     IidPartitioner         215 rows, y left out:
#     ShardPartitioner, 2    200 rows, y left out: 80 to 89, 210 to 214
#     ShardPartitioner, 3    210 rows, y left out: 210 to 214
#     shard_size=10, kept    215 rows, y left out:
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check flwr-datasets==0.6.1 datasets==4.8.5 numpy==2.4.6 pandas==3.1.1 pyarrow==26.0.1
HF_DATASETS_OFFLINE=1 venv/bin/python - <<'PY'
import numpy as np
from datasets import Dataset
from flwr_datasets.partitioner import IidPartitioner, ShardPartitioner

table = Dataset.from_dict({"y": [float(v) for v in np.random.default_rng(0).permutation(215)]})
partitioners = {
    "IidPartitioner": IidPartitioner(10),
    "ShardPartitioner, 2": ShardPartitioner(10, "y", num_shards_per_partition=2),
    "ShardPartitioner, 3": ShardPartitioner(10, "y", num_shards_per_partition=3),
    "shard_size=10, kept": ShardPartitioner(10, "y", shard_size=10, keep_incomplete_shard=True),
}
left = {}
for name, partitioner in partitioners.items():
    partitioner.dataset = table
    kept = [y for k in range(10) for y in partitioner.load_partition(k)["y"]]
    assert len(kept) == len(set(kept))
    left[name] = sorted(set(range(215)) - set(kept))
    runs = np.split(left[name], np.flatnonzero(np.diff(left[name]) > 1) + 1) if left[name] else []
    said = ", ".join(f"{run[0]} to {run[-1]}" for run in runs)
    print(f"{name:22} {len(kept)} rows, y left out: {said}".rstrip())
assert not left["IidPartitioner"] and not left["shard_size=10, kept"]
assert len(left["ShardPartitioner, 2"]) == 15 and left["ShardPartitioner, 2"][-5:] == list(range(210, 215))
assert left["ShardPartitioner, 3"] == list(range(210, 215))
PY
