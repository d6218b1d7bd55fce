import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from course_lib.serving.balance import balance

CHANNELS = 200


def products(*weights):
    """An ONNX model: x → x W for each of the weights, and x x as a product of no weights."""
    names = [f"y{n}" for n in range(len(weights))]
    nodes = [helper.make_node("MatMul", ["double", f"w{n}"], [name], name=name) for n, name in enumerate(names)]
    nodes = [helper.make_node("Add", ["x", "x"], ["double"]), *nodes, helper.make_node("MatMul", ["x", "x"], ["square"])]
    widths = [*(w.shape[1] for w in weights), CHANNELS]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, CHANNELS, width])
        for name, width in zip((*names, "square"), widths, strict=True)
    ]
    table = [numpy_helper.from_array(w, f"w{n}") for n, w in enumerate(weights)]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, CHANNELS, CHANNELS])
    graph = helper.make_graph(nodes, "products", [given], outputs, table)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})


@pytest.fixture
def numbers():
    draw = np.random.default_rng(0)
    x = draw.uniform(-1, 1, size=(1, CHANNELS, CHANNELS)).astype(np.float32)
    return x, [draw.normal(size=(CHANNELS, width)).astype(np.float32) for width in (3, 5)]


def test_the_same_function_with_smaller_channels(numbers):
    x, weights = numbers
    x[0, :, 7] *= 50
    model = products(*weights)
    before = model.SerializeToString()
    balanced = balance(model, {"x": x})
    assert model.SerializeToString() == before, "the given model stays as it is"
    onnx.checker.check_model(balanced)
    for ours, theirs in zip(run(balanced, x), run(model, x), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)
    (divide,) = [node for node in balanced.graph.node if node.op_type == "Mul"]
    scale = 1 / numpy_helper.to_array(next(t for t in balanced.graph.initializer if t.name == divide.input[1]))
    assert scale.argmax() == 7 and 45 < scale[7] < 55 and np.delete(scale, 7).max() < 1.05, "only what sticks out is scaled"
    for n, weight in enumerate(weights):
        scaled = numpy_helper.to_array(next(t for t in balanced.graph.initializer if t.name == f"w{n}"))
        np.testing.assert_allclose(scaled, weight * scale[:, None], rtol=1e-5)


def test_nothing_sticks_out(numbers):
    x, weights = numbers
    x[0, :, 7] *= 1.8
    for given in (x, np.zeros_like(x)):
        assert balance(products(*weights), {"x": given}) == products(*weights)
