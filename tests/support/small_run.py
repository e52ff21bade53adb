"""A run of five samples, without a model."""

import json

import numpy as np
import pyarrow as pa

from gradsift import Audit
from gradsift.store import RunDirectory
from gradsift.store.tables import KEY

CONFIG = {"settings": {"batch_size": 4}}
LENGTHS = (3, 2)


def fill(run):
    for shard, length in enumerate(LENGTHS):
        if not run.has_shard(0, shard):
            run.write_shard(0, shard, {"loss": np.arange(length) + 10.0 * shard, "l2": np.ones(length)})
    run.record_shards(LENGTHS)
    columns = {"position": np.arange(5), "flagged": np.arange(5) == 3, "rank": np.arange(5)[::-1] + 1}
    about = {"detector": "l2", "data_fingerprint": "d", "run": run.read_json("manifest.json")["fingerprint"]}
    run.write_table(pa.table(columns | {"reason": ["same"] * 5}).replace_schema_metadata({KEY: json.dumps(about)}))
    run.update({"data_fingerprint": "d"})
    run.write_json("timing.json", {"seconds": 1})


def make(place, fingerprint="f", **keywords):
    with RunDirectory.begin(place, fingerprint, CONFIG, **keywords) as run:
        fill(run)
        run.finish()
    return place


def read(place):
    """Everything that is read of a run, as users read it."""
    audit = Audit.open(place)
    for name in sorted(audit.run.stored()):
        audit.run.statistic(name).load()
    return audit.flagged_positions.tolist(), audit.run.config, audit.run.read_json("timing.json")
