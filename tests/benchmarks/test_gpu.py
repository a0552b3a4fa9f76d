"""The benchmark of GPUs runs anywhere, and counts the operations that it divides by."""

import json
import sys
from pathlib import Path

import pytest
import torch

import gpu
import timing
from anasyn.models import Descriptor, Generator, networks


def test_the_operations_of_a_descriptor_are_the_closed_form_s():
    """Two for each weight of a convolution at each pixel of its output, and again back to its input."""
    model = Descriptor(networks.conv(16, (8, 12, 16), strides=2), 0.4)
    weights = 8 * 8 * (8 * 3 * 4 * 4) + 4 * 4 * (12 * 8 * 4 * 4) + 4 * 4 * (16 * 12 * 3 * 3) + 16 * 4 * 4
    images = torch.zeros(5, 3, 16, 16)
    assert gpu.flops(model, model.log_density, images) == 5 * 2 * 2 * weights
    assert all(weight.requires_grad for weight in model.parameters())


def test_the_operations_of_a_generator_are_the_closed_form_s():
    model = Generator(networks.deconv(9, 16, (8, 4)), 9, 0.3)
    weights = 9 * 8 * 4 * 4 + 4 * 4 * (8 * 4 * 4 * 4) + 8 * 8 * (4 * 3 * 4 * 4)  # transposed: of its input
    z, images = torch.zeros(5, 9), torch.zeros(5, 3, 16, 16)
    assert gpu.flops(model, lambda z: model.log_joint(z, images), z) == 5 * 2 * 2 * weights


def test_it_runs_where_there_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--small", "--out", str(tmp_path / "gpu.json")])
    monkeypatch.setenv("ANASYN_GRAPHS", "on")  # which the benchmark changes
    monkeypatch.setattr(gpu, "WAYS", (gpu.CAPTURED, gpu.LAUNCHED))  # for the rows; here, both are the latter
    timing.main("gpu", gpu.rows, gpu.__doc__)
    rows = json.loads((tmp_path / "gpu.json").read_text())
    assert all(row["figure"] > 0 for row in rows)
    assert sum(row["what"].endswith("times as fast captured") for row in rows) == 8
    shares = [row for row in rows if row["what"].endswith("share of the matrix rate")]
    assert [row["target"] for row in shares] == ["≥ 0.35", ""]
