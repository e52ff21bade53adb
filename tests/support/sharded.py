"""One of two processes that shard a model between them, and then audit what they gather from it."""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

import gradsift
from gradsift.errors import ModelError
from tests.support.cases import mlp

DATA = torch.randn(40, 5, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3
OPTIONS = {"layers": "all", "detectors": "l2", "contamination": 0.1, "shard_size": 8, "show_progress": False}


def model():
    torch.manual_seed(0)
    return mlp().eval()


def by_fsdp(whole, mesh):
    fully_shard(whole[0], mesh=mesh)
    return fully_shard(whole, mesh=mesh)


def by_tensor_parallelism(whole, mesh):
    return parallelize_module(whole, mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()})


def main(folder, rank):
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2)
    mesh = dist.device_mesh.init_device_mesh("cpu", (2,))
    said = {}
    for shard in (by_fsdp, by_tensor_parallelism):
        sharded = shard(model(), mesh)
        said[f"{shard.__name__} holds"] = sum(
            p.to_local().numel() for p in sharded.parameters() if hasattr(p, "to_local")
        )
        try:
            gradsift.audit(sharded, DATA, output=folder / "refused", **OPTIONS)
        except ModelError as error:
            said[shard.__name__] = str(error)
        gathered = get_model_state_dict(sharded, options=StateDictOptions(full_state_dict=True))
        plain = mlp().eval()
        plain.load_state_dict(gathered)
        gradsift.audit(plain, DATA, output=folder / shard.__name__, **OPTIONS)
    (folder / f"said-{rank}.json").write_text(json.dumps(said))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
