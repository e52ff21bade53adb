"""Auditing ten times more samples takes the same memory: fresh processes, their peaks less what the table holds."""

import json
import os
import subprocess
import sys

import pytest

JOB = """
import json, resource, sys
import numpy as np, torch
import gradsift

class Made(torch.utils.data.Dataset):
    '''Samples are made when they are read, so the caller holds no data.'''
    def __init__(self, size): self.size = size
    def __len__(self): return self.size
    def __getitem__(self, position):
        if position >= self.size: raise IndexError(position)
        generator = np.random.default_rng(position)
        return generator.standard_normal(32, dtype=np.float32), position % 10

def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

torch.manual_seed(0)
torch.set_num_threads(1)
model = torch.nn.Sequential(torch.nn.Linear(32, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10)).eval()
size, layers, output = int(sys.argv[1]), sys.argv[2], sys.argv[3]
before = peak()
names = ["l2", "loss", "isolation_forest", "self_confidence", "normalized_margin"]
names += ["posterior"] if layers == "last" else []  # neighbours need the last layer's features
audit = gradsift.audit(model, Made(size), layers=layers, projection=256, detectors=names, contamination=0.01, output=output,
    batch_size=256, show_progress=False)
print(json.dumps({"before": before, "peak": peak(), "table": audit.table.nbytes}))
"""

LORA = """
import json, resource, sys
import numpy as np, peft, torch, transformers
import gradsift

class Made(torch.utils.data.Dataset):
    def __init__(self, size): self.size = size
    def __len__(self): return self.size
    def __getitem__(self, position):
        ids = np.random.default_rng(position).integers(3, 500, 24)
        return {"input_ids": ids, "attention_mask": np.ones_like(ids), "labels": ids}

def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

torch.manual_seed(0)
torch.set_num_threads(1)
base = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=500, hidden_size=64, intermediate_size=128,
    num_hidden_layers=2, num_attention_heads=4))
model = peft.get_peft_model(base, peft.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"])).eval()
size, layers, output = int(sys.argv[1]), sys.argv[2], sys.argv[3]
before = peak()
audit = gradsift.audit(model, Made(size), task="causal-lm", layers=layers, projection=64, contamination=0.01,
    output=output, batch_size=64, show_progress=False)
print(json.dumps({"before": before, "peak": peak(), "table": audit.table.nbytes}))
"""

CLASSES = """
import json, resource, sys
import numpy as np, torch
import gradsift

def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

torch.manual_seed(0)
torch.set_num_threads(1)
size, classes, output = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
model = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, classes)).eval()
generator = np.random.default_rng(0)
inputs, labels = generator.standard_normal((size, 32), dtype=np.float32), generator.integers(0, classes, size)
before = peak()
audit = gradsift.audit(model, (inputs, labels), output=output, show_progress=False)
print(json.dumps({"before": before, "peak": peak(), "table": audit.table.nbytes}))
"""


def measure(size, layers, folder, job=JOB):
    output = folder / f"{layers}-{size}"
    done = subprocess.run(
        [sys.executable, "-c", job, str(size), layers, str(output)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("layers", ["last", "all"])
def test_ten_times_more_samples_take_the_same_memory(layers, tmp_path):
    small, large = measure(10_000, layers, tmp_path), measure(100_000, layers, tmp_path)
    peaks = [one["peak"] - one["table"] for one in (small, large)]
    print(f"{layers}: {peaks[0] / 2**20:.1f} MiB for 10,000, {peaks[1] / 2**20:.1f} MiB for 100,000 samples")
    assert peaks[1] < 1.05 * peaks[0]


@pytest.mark.slow
def test_ten_times_more_prompts_for_an_adapter_take_the_same_memory(tmp_path):
    small, large = measure(2_000, "all", tmp_path, LORA), measure(20_000, "all", tmp_path, LORA)
    peaks = [one["peak"] - one["table"] for one in (small, large)]
    print(f"LoRA: {peaks[0] / 2**20:.1f} MiB for 2,000, {peaks[1] / 2**20:.1f} MiB for 20,000 prompts")
    assert peaks[1] < 1.05 * peaks[0]


@pytest.mark.slow
@pytest.mark.parametrize(("samples", "classes"), [(1_000, 20_000), (1_000, 50_000), (3_000, 20_000)])
def test_memory_grows_with_the_classes_not_with_their_pairs(samples, classes, tmp_path):
    found = measure(samples, str(classes), tmp_path, CLASSES)
    print(
        f"{samples} samples, {classes} classes: {found['peak'] / 2**20:.0f} MiB, {found['before'] / 2**20:.0f} before"
    )
    assert found["peak"] < 1.25 * 2**30  # of all pairs, one array of the smallest case takes 3 GiB
