"""Vision wing: image models on the hyperboloid."""

from hypeeg.vision.resnet import LorentzBasicBlock, LorentzResNet, lorentz_resnet18

__all__ = ["LorentzBasicBlock", "LorentzResNet", "lorentz_resnet18"]
