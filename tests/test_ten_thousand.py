"""`tools/ten_thousand.py`, at a depth that takes no time."""

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "tools" / "ten_thousand.py"


def load():
    spec = importlib.util.spec_from_file_location("ten_thousand", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_says_what_became_of_both_twins(capsys):
    load().main(["--depth", "30", "--steps", "20"])
    out = capsys.readouterr().out
    assert "30 layers, hidden layers frozen: test loss" in out
    assert "30 layers, all trained: test loss" in out


def test_training_beats_the_twin():
    script = load()
    trained, frozen = (script.train(30, 150, 0, frozen=frozen, progress=False) for frozen in (False, True))
    assert trained.test_loss.item() < frozen.test_loss.item() - 0.1
