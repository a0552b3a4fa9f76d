"""One thread: the tests' tensors are small, and the cores are shared."""

import torch

torch.set_num_threads(1)
