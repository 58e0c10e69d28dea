"""Networks: the small classifiers of the field, and torchvision's and timm's by name."""

from __future__ import annotations

from limbeck.networks.batch_norm import batch_norms as batch_norms
from limbeck.networks.batch_norm import bn_variant as bn_variant
from limbeck.networks.batch_norm import require_batch_norm as require_batch_norm
from limbeck.networks.blocks import BlockNetwork as BlockNetwork
from limbeck.networks.catalog import build as build
from limbeck.networks.catalog import names as names
from limbeck.networks.catalog import options as options
from limbeck.networks.checkpoints import checkpoint_weights as checkpoint_weights
from limbeck.networks.classic import MLP as MLP
from limbeck.networks.classic import AlexNet as AlexNet
from limbeck.networks.classic import LeNet as LeNet
from limbeck.networks.convnet import ConvNet as ConvNet
from limbeck.networks.densenet import DenseNet as DenseNet
from limbeck.networks.efficientnet import EfficientNet as EfficientNet
from limbeck.networks.from_timm import TimmNetwork as TimmNetwork
from limbeck.networks.from_torchvision import TorchvisionNetwork as TorchvisionNetwork
from limbeck.networks.mobilenet import MobileNetV2 as MobileNetV2
from limbeck.networks.pretrained import pretrained_weights as pretrained_weights
from limbeck.networks.pretrained import torchvision_categories as torchvision_categories
from limbeck.networks.resnet import ResNet as ResNet
from limbeck.networks.shufflenet import ShuffleNet as ShuffleNet
from limbeck.networks.vgg import VGG11 as VGG11
from limbeck.networks.vgg import VGG16 as VGG16
from limbeck.networks.vit import VisionTransformer as VisionTransformer
