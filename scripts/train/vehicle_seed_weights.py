"""First weights of the network: the backbone of the published YOLOX-nano detector."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable

import numpy as np
import openvino
import torch
from torch import nn
from vehicle_data import PIXEL_MEAN, PIXEL_SCALE
from vehicle_nets import ConvBlock, PyramidPool, VehicleNet

LAST_BACKBONE_CONVOLUTION = 194
FIRST_WEIGHT_NAME = 1178
NAMES_PER_CONVOLUTION = 3


def read_convolutions(onnx_path: pathlib.Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Given the detector's ONNX file, do read its backbone and return (weight, bias) in order."""
    constants: dict[str, np.ndarray] = {}
    count = 0
    for node in openvino.Core().read_model(onnx_path).get_ordered_ops():
        name = node.get_friendly_name()
        match = re.fullmatch(r"Conv_(\d+)/WithoutBiases", name)
        if match and int(match[1]) <= LAST_BACKBONE_CONVOLUTION:
            count += 1
        elif node.get_type_name() == "Constant" and name.isdecimal():
            constants[name] = np.array(node.data)
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    for rank in range(count):
        first = FIRST_WEIGHT_NAME + NAMES_PER_CONVOLUTION * rank
        pairs.append((constants[str(first)], constants[str(first + 1)].reshape(-1)))
    return pairs


def adapt_stem(weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Given the stem for four corner pictures of BGR bytes, do rewrite it for normalised RGB.

    Four 3x3 kernels over every second pixel are one 6x6 kernel of stride 2. Return its weight
    [16,3,6,6] and bias.
    """
    corners = weight.reshape(-1, 4, 3, 3, 3)[:, :, ::-1]
    wide = np.zeros((weight.shape[0], 3, 6, 6), np.float32)
    for corner in range(4):
        wide[:, :, corner % 2 :: 2, corner // 2 :: 2] = corners[:, corner]
    mean = np.asarray(PIXEL_MEAN, np.float32).reshape(1, 3, 1, 1)
    scale = np.asarray(PIXEL_SCALE, np.float32).reshape(1, 3, 1, 1)
    return wide * scale, bias + (wide * mean).sum(axis=(1, 2, 3))


def merge_wide_pools(weight: np.ndarray) -> np.ndarray:
    """Given the pyramid's merging weight [O,4C,1,1], do add up the two widest pools' parts.

    Return the weight [O,3C,1,1].
    """
    quarter = weight.shape[1] // 4
    merged = weight[:, : 3 * quarter].copy()
    merged[:, 2 * quarter :] += weight[:, 3 * quarter :]
    return merged


@torch.no_grad()
def load_detector_backbone(
    model: VehicleNet, onnx_path: pathlib.Path, batch: torch.Tensor
) -> None:
    """Given the net, the ONNX file and some pictures, do fill in the detector's weights.

    The file's convolutions hold their normalisation already. It is put back with the pictures'
    own statistics, so the net computes the same and trains well. Return nothing.
    """
    pairs = read_convolutions(onnx_path)
    pairs[0] = adapt_stem(*pairs[0])
    blocks = [module for module in model.modules() if isinstance(module, ConvBlock)]
    if len(blocks) != len(pairs):
        raise ValueError(f"{onnx_path} has {len(pairs)} convolutions, {len(blocks)} are needed")
    pyramids = {id(part.merge) for part in model.modules() if isinstance(part, PyramidPool)}
    handles = []
    for block, (weight, bias) in zip(blocks, pairs, strict=True):
        if id(block) in pyramids:
            weight = merge_wide_pools(weight)
        block.conv.weight.copy_(torch.from_numpy(weight))
        hook = make_statistics_hook(block.norm, torch.from_numpy(bias))
        handles.append(block.conv.register_forward_hook(hook))
    model.eval()(batch)
    for handle in handles:
        handle.remove()


def make_statistics_hook(norm: nn.BatchNorm2d, bias: torch.Tensor) -> Callable[..., None]:
    """Given a normalisation and a bias, do make a hook that fits it to the output; return it."""

    def hook(_module: nn.Module, _inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        """Given a convolution's output, do set the normalisation to only add the bias."""
        variance, mean = torch.var_mean(output, dim=(0, 2, 3), correction=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(mean + bias)

    return hook
