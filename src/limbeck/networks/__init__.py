"""Networks: the small classifiers of the field, and torchvision's by name."""

from __future__ import annotations

from limbeck.networks.blocks import BlockNetwork as BlockNetwork
from limbeck.networks.catalog import build as build
from limbeck.networks.catalog import names as names
from limbeck.networks.catalog import options as options
from limbeck.networks.classic import MLP as MLP
from limbeck.networks.classic import AlexNet as AlexNet
from limbeck.networks.classic import LeNet as LeNet
from limbeck.networks.convnet import ConvNet as ConvNet
from limbeck.networks.densenet import DenseNet as DenseNet
from limbeck.networks.from_torchvision import TorchvisionNetwork as TorchvisionNetwork
from limbeck.networks.resnet import ResNet as ResNet
from limbeck.networks.vgg import VGG11 as VGG11
