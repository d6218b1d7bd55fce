"""Before numbers get 8 bits: the few channels that stick out are brought to the size of the others."""

from __future__ import annotations

import copy

import numpy as np
import onnx
from onnx import helper, numpy_helper

USUAL = 0.99  # share of channels that count as usual
OUT = 2.0  # a product is changed where a channel reaches so many times what is usual


def balance(model: onnx.ModelProto, given: dict[str, np.ndarray]) -> onnx.ModelProto:
    """The same function, x W = (x / s) (s W), with s_j > 1 for the input channels j of a product that stick out.

    s_j = max(1, max |x_j| / q) over the inputs `given`, q the 99th percentile of max |x_j| over the channels. One step of
    8 bits then spans the usual numbers and not those of one channel. Products in which no channel reaches 2 q stay as they are.
    Source: Xiao et al. (2023), SmoothQuant, equation 3, here for outliers only; on those Dettmers et al. (2022), LLM.int8().
    """
    model = copy.deepcopy(model)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    products: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in weights:
            products.setdefault(node.input[0], []).append(node)
    for name, largest in _largest(model, list(products), given).items():
        usual = np.quantile(largest, USUAL, method="lower")
        if largest.max() > OUT * usual > 0:
            scale = np.maximum(largest / usual, 1).astype(np.float32)
            _divide(model, name, products[name], scale)
            for weight in {node.input[1] for node in products[name]}:
                scaled = numpy_helper.to_array(weights[weight]) * scale[:, None]
                weights[weight].CopyFrom(numpy_helper.from_array(scaled, weight))
    return model


def _largest(model: onnx.ModelProto, names: list[str], given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Name of an inner array (…, channels) → largest absolute value of each channel."""
    import onnxruntime

    watched = copy.deepcopy(model)
    watched.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    session = onnxruntime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(names, given)
    return {n: np.abs(rows).reshape(-1, rows.shape[-1]).max(axis=0) for n, rows in zip(names, found, strict=True)}


def _divide(model: onnx.ModelProto, name: str, products: list[onnx.NodeProto], scale: np.ndarray) -> None:
    """Put x / s between x and its products."""
    inverse, divided = f"{name}_scale", f"{name}_balanced"
    model.graph.initializer.append(numpy_helper.from_array(1 / scale, inverse))
    first = min(i for i, node in enumerate(model.graph.node) if node in products)
    for node in products:
        node.input[0] = divided
    model.graph.node.insert(first, helper.make_node("Mul", [name, inverse], [divided], name=divided))
