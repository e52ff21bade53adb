"""Imports everything that the commands import late, so that children need not; the parent does nothing else with it."""

import gc

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
from gradsift.cli.commands import COMMANDS
from gradsift.report.template import environment

MODULES = (datasets, jinja2, peft, PIL, pyarrow, sklearn, torch, transformers, gradsift)

group = typer.main.get_command(app)
for name in COMMANDS:
    group.commands[name]
group.commands["trim"].make_context("trim", ["run", "-o", "file"])  # what reading options imports
for template in environment("gradsift.report").list_templates(extensions=["j2"]):
    environment("gradsift.report").get_template(template)
gc.collect()
gc.freeze()  # a collection in a child would look through all of this, and copy its pages
