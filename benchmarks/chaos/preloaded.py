"""Imports everything that the commands import late, so that children need not; the parent does nothing else with it."""

import datasets
import jinja2
import peft
import PIL.Image
import PIL.PngImagePlugin
import pyarrow.csv
import pyarrow.dataset
import pyarrow.json
import pyarrow.parquet
import sklearn.ensemble
import sklearn.neighbors
import torch._dynamo
import torch.func
import transformers
import transformers.models.bert.modeling_bert
import typer.main

import gradsift.cli
from gradsift.cli.app import app

MODULES = (datasets, jinja2, peft, PIL, pyarrow, sklearn, torch, transformers, gradsift)

typer.main.get_command(app).commands["trim"].make_context("trim", ["run", "-o", "file"])  # what reading options imports
