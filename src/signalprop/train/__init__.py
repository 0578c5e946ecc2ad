"""Observe: descent on losses, from the smallest one up to networks on data."""

from signalprop.train.attacks import fgsm, pgd
from signalprop.train.batched import fit_many
from signalprop.train.checkpoint import Checkpoint
from signalprop.train.descent import Descent, gradient_descent
from signalprop.train.loop import History, evaluate, fit
from signalprop.train.pretraining import pretrain_
from signalprop.train.scores import scores
from signalprop.train.search import Search, random_search, regularized_evolution
from signalprop.train.sweep import sweep
from signalprop.train.trainability import trainability

__all__ = [
    "Checkpoint",
    "Descent",
    "History",
    "Search",
    "evaluate",
    "fgsm",
    "fit",
    "fit_many",
    "gradient_descent",
    "pgd",
    "pretrain_",
    "random_search",
    "regularized_evolution",
    "scores",
    "sweep",
    "trainability",
]
