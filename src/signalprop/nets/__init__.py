"""Build: the networks of the book."""

from signalprop.nets.convolutional import PlainCNN
from signalprop.nets.densenet import DenseNet
from signalprop.nets.highway import Highway
from signalprop.nets.initializers import initialize_
from signalprop.nets.layers import Elementwise
from signalprop.nets.linear_chain import random_linear_chain
from signalprop.nets.plain import MLP
from signalprop.nets.recurrent import MinimalRNN, VanillaRNN
from signalprop.nets.residual import ResidualBlock, ResidualMLP
from signalprop.nets.resnet import ResNet
from signalprop.nets.resnext import ResNeXt
from signalprop.nets.scalar_chain import tied_chain_loss, untied_chain_loss

__all__ = [
    "MLP",
    "DenseNet",
    "Elementwise",
    "Highway",
    "MinimalRNN",
    "PlainCNN",
    "ResNeXt",
    "ResNet",
    "ResidualBlock",
    "ResidualMLP",
    "VanillaRNN",
    "initialize_",
    "random_linear_chain",
    "tied_chain_loss",
    "untied_chain_loss",
]
