"""Functions that are compiled where it is asked for, and are themselves elsewhere."""

import pytest
import torch

from anasyn.fusion import fused, fusing


@fused
def hypotenuse(a: torch.Tensor, b: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
    return scale * (a * a + b * b).sqrt()


def test_they_are_compiled_only_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def compiler(function, **options):
        made.append(function.__name__)
        return lambda *args, **kwargs: -function(*args, **kwargs)

    monkeypatch.setattr(torch, "compile", compiler)
    a, b = torch.tensor([3.0]), torch.tensor([4.0])
    assert hypotenuse(a, b) == 5
    with fusing(False):
        assert hypotenuse(a, b) == 5
    with fusing(True):
        assert hypotenuse(a, b, scale=2.0) == -10
        with fusing(False):
            assert hypotenuse(a, b) == 5
        assert hypotenuse(a, b) == -5
    assert hypotenuse(a, b) == 5
    assert made == ["hypotenuse"]
