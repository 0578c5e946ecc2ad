"""Observe: descent on losses, from the smallest one up to networks on data."""

from signalprop.train.attacks import fgsm, pgd
from signalprop.train.batched import fit_many
from signalprop.train.checkpoint import Checkpoint
from signalprop.train.deep import (
    DeepClassifiers,
    DeepRun,
    fit_deep,
    gradient_ratio,
    residual_classifiers,
    tanh_classifiers,
    tenths_of_depth,
    with_constant,
)
from signalprop.train.descent import Descent, gradient_descent
from signalprop.train.linear_probe import linear_probe
from signalprop.train.loop import History, evaluate, fit
from signalprop.train.pretraining import pretrain_
from signalprop.train.scores import scores
from signalprop.train.search import Search, random_search, regularized_evolution
from signalprop.train.statistics import renew_statistics_
from signalprop.train.sweep import sweep
from signalprop.train.trainability import trainability
from signalprop.train.tricks import Tricks, fit_with_tricks, rate_schedule
from signalprop.train.twins import Twins, fit_twin, fit_twins

__all__ = [
    "Checkpoint",
    "DeepClassifiers",
    "DeepRun",
    "Descent",
    "History",
    "Search",
    "Tricks",
    "Twins",
    "evaluate",
    "fgsm",
    "fit",
    "fit_deep",
    "fit_many",
    "fit_twin",
    "fit_twins",
    "fit_with_tricks",
    "gradient_descent",
    "gradient_ratio",
    "linear_probe",
    "pgd",
    "pretrain_",
    "random_search",
    "rate_schedule",
    "regularized_evolution",
    "renew_statistics_",
    "residual_classifiers",
    "scores",
    "sweep",
    "tanh_classifiers",
    "tenths_of_depth",
    "trainability",
    "with_constant",
]
