"""An audit by Ray in a process of its own, which a test may kill."""

import os
import sys
import time
from pathlib import Path

import numpy as np
import ray
import torch

import gradsift
from gradsift.engines import Ray

os.environ |= {"RAY_worker_niceness": "0"}  # Ray's workers give way to all others on the machine otherwise


class Slow:
    """Rows that take their time; the file says who reads them."""

    def __init__(self, size, seconds=0.0, bad=None):
        generator = np.random.default_rng(0)
        self.inputs = generator.standard_normal((size, 4)).astype(np.float32)
        self.labels = (self.inputs[:, 0] > 0).astype(np.int64)
        self.seconds = seconds
        if bad is not None:
            self.inputs[bad] = np.nan

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, position):
        time.sleep(self.seconds)
        return self.inputs[position], self.labels[position]


def model():
    torch.manual_seed(0)
    return torch.nn.Linear(4, 2).eval()


SETTINGS = {"shard_size": 20, "batch_size": 10, "show_progress": False}
SAMPLES = 400


def main(folder):
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    print("ready", flush=True)
    gradsift.audit(model(), Slow(SAMPLES, 0.01), output=folder, engine=Ray(workers=2), **SETTINGS)
    print("done", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
