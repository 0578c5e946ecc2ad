"""Build: the networks of the book."""

from signalprop.nets.biases import normal_biases_
from signalprop.nets.convolutional import PlainCNN
from signalprop.nets.deep_residual_stack import DeepResidualStack
from signalprop.nets.deep_stack import DeepStack
from signalprop.nets.deep_stacks import DeepResidualStacks, DeepStacks
from signalprop.nets.densenet import DenseLayer, DenseNet
from signalprop.nets.dropout import Dropout, add_dropout_
from signalprop.nets.highway import Highway, HighwayLayer
from signalprop.nets.highway_cnn import HighwayCNN
from signalprop.nets.initializers import initialize_
from signalprop.nets.layers import Elementwise
from signalprop.nets.least_squares import batch_norm_least_squares_loss, least_squares_loss
from signalprop.nets.linear_chain import random_linear_chain
from signalprop.nets.looks_linear import ConcatenatedReLU
from signalprop.nets.normalizers import (
    BatchNorm,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    SwitchNorm,
    batch_norm_backward,
    normalizer,
)
from signalprop.nets.operation_mlp import OPERATIONS, OperationMLP
from signalprop.nets.plain import MLP
from signalprop.nets.recurrent import MinimalRNN, VanillaRNN
from signalprop.nets.residual import ResidualBlock, ResidualMLP
from signalprop.nets.resnet import ResNet
from signalprop.nets.resnext import ResNeXt
from signalprop.nets.scalar_chain import tied_chain_loss, untied_chain_loss
from signalprop.nets.shifting_noise import ShiftingNoise
from signalprop.nets.weight_normalizers import SpectralNorm, WeightNorm, spectral_norm_, weight_norm_

__all__ = [
    "MLP",
    "OPERATIONS",
    "BatchNorm",
    "ConcatenatedReLU",
    "DeepResidualStack",
    "DeepResidualStacks",
    "DeepStack",
    "DeepStacks",
    "DenseLayer",
    "DenseNet",
    "Dropout",
    "Elementwise",
    "GroupNorm",
    "Highway",
    "HighwayCNN",
    "HighwayLayer",
    "InstanceNorm",
    "LayerNorm",
    "MinimalRNN",
    "OperationMLP",
    "PlainCNN",
    "ResNeXt",
    "ResNet",
    "ResidualBlock",
    "ResidualMLP",
    "ShiftingNoise",
    "SpectralNorm",
    "SwitchNorm",
    "VanillaRNN",
    "WeightNorm",
    "add_dropout_",
    "batch_norm_backward",
    "batch_norm_least_squares_loss",
    "initialize_",
    "least_squares_loss",
    "normal_biases_",
    "normalizer",
    "random_linear_chain",
    "spectral_norm_",
    "tied_chain_loss",
    "untied_chain_loss",
    "weight_norm_",
]
