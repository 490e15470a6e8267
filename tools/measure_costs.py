"""Measures kernel and conversion times of onnxruntime on this machine and fits the cost table.

    python -m tools.measure_costs --extends cpu > mine.toml    # for --target mine.toml

Each kernel's time is the least over the repeats of a profiled run on one thread. It is modelled as
a sum of non-negative coefficients times its multiply-accumulates, its output elements and the
elements that it gathers (of a matrix product its weight), plus a constant (non-negative least
squares, weighted so that relative errors count).
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from scipy.optimize import nnls

if TYPE_CHECKING:
    from collections.abc import Sequence

REPEATS = 30


def _profile(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> dict[str, float]:
    """Returns kernel name → least µs, of the graph as onnxruntime optimized it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "p")
        session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        for _ in range(REPEATS):
            session.run(None, feeds)
        events = json.loads(Path(session.end_profiling()).read_text())
    times: dict[str, list[float]] = {}
    for event in events:
        name = event.get("name", "")
        if name.endswith("_kernel_time"):
            key = f"{event['args']['op_name']}:{name.removesuffix('_kernel_time')}"
            times.setdefault(key, []).append(event["dur"])
    return {key: float(min(t[2:])) for key, t in times.items()}


def _conv_net(
    cin: int, cout: int, k: int, stride: int, size: int, group: int, quantized: bool
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A chain conv → the conv under test → conv, so that its neighbours fix the layout."""
    rng = np.random.default_rng(0)
    nodes, weights = [], []

    def add(name: str, array: np.ndarray) -> str:
        weights.append(numpy_helper.from_array(array, name))
        return name

    scale, zero = add("s", np.asarray(0.02, np.float32)), add("z", np.asarray(0, np.uint8))

    def qdq(value: str) -> str:
        if not quantized:
            return value
        nodes.append(helper.make_node("QuantizeLinear", [value, scale, zero], [value + "_q"]))
        nodes.append(
            helper.make_node("DequantizeLinear", [value + "_q", scale, zero], [value + "_d"])
        )
        return value + "_d"

    def conv(name: str, x: str, ci: int, co: int, kk: int, st: int, g: int) -> str:
        w = rng.standard_normal((co, ci // g, kk, kk)).astype(np.float32) / 8
        if quantized:
            add(name + "_wq", np.clip(np.rint(w * 100), -127, 127).astype(np.int8))
            add(name + "_ws", np.full(co, 0.01, np.float32))
            nodes.append(
                helper.make_node(
                    "DequantizeLinear", [name + "_wq", name + "_ws"], [name + "_w"], axis=0
                )
            )
        else:
            add(name + "_w", w)
        nodes.append(
            helper.make_node(
                "Conv",
                [x, name + "_w"],
                [name + "_y"],
                name=name,
                kernel_shape=[kk, kk],
                pads=[kk // 2] * 4,
                strides=[st, st],
                group=g,
            )
        )
        nodes.append(helper.make_node("Relu", [name + "_y"], [name + "_r"]))
        return qdq(name + "_r")

    stem = cin == 3
    x = qdq("x")
    if not stem:
        x = conv("first", x, 16, cin, 1, 1, 1)
    y = conv("probe", x, cin, cout, k, stride, group)
    y = conv("last", y, cout, 16, 1, 1, 1)
    shape = [1, 3 if stem else 16, size, size]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(y, TensorProto.FLOAT, None)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return model, {"x": rng.standard_normal(shape).astype(np.float32)}


def _product_net(
    rows: int, inner: int, columns: int, quantized: bool
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """One matrix product with float output, as transformers have them, in front of a Softmax."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((inner, columns)).astype(np.float32)}
    nodes, x = [], "x"
    if quantized:
        weights = {
            "w_codes": rng.integers(-64, 64, (inner, columns)).astype(np.int8),
            "w_scale": np.full(columns, 0.01, np.float32),
            "w_zero": np.zeros(columns, np.int8),
            "s": np.asarray(0.02, np.float32),
            "z": np.asarray(128, np.uint8),
        }
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["x_q"]),
            helper.make_node("DequantizeLinear", ["x_q", "s", "z"], ["x_d"]),
            helper.make_node("DequantizeLinear", ["w_codes", "w_scale", "w_zero"], ["w"], axis=1),
        ]
        x = "x_d"
    nodes.append(helper.make_node("MatMul", [x, "w"], ["m"], name="probe"))
    nodes.append(helper.make_node("Softmax", ["m"], ["y"], name="last"))
    shape = [1, rows, inner]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return model, {"x": rng.standard_normal(shape).astype(np.float32)}


def _probe_time(times: dict[str, float]) -> float:
    kernels = ("Conv", "MatMul")
    found = [
        t
        for key, t in times.items()
        if any(k in key.split(":")[0] for k in kernels) and "probe" in key
    ]
    if not found:
        raise SystemExit(f"no kernel of the probe among {list(times)}")
    return sum(found)


def product_rows() -> list[tuple[dict[str, float], float, float]]:
    """Returns (features, float µs, integer µs) for matrix products with a constant weight."""
    found = []
    sizes = [(128, 128), (128, 512), (512, 128), (192, 768), (384, 384), (768, 192), (384, 1536)]
    for rows, (inner, columns) in itertools.product((1, 2, 8, 65, 197), sizes):
        features = {
            "mac": float(rows * inner * columns),
            "output": float(rows * columns),
            "patch": float(inner * columns),
            "call": 1.0,
        }
        pair = [
            _probe_time(_profile(*_product_net(rows, inner, columns, q))) for q in (False, True)
        ]
        found.append((features, pair[0], pair[1]))
    return found


def conv_rows(kind: str) -> list[tuple[dict[str, float], float, float]]:
    """Returns (features, float µs, integer µs) for shapes of one kind of convolution."""
    rows = []
    if kind == "depthwise":
        shapes = [
            (c, c, k, s, n, c)
            for (c, n), k, s in itertools.product(
                [
                    (16, 112),
                    (32, 56),
                    (64, 56),
                    (64, 28),
                    (128, 28),
                    (128, 14),
                    (256, 14),
                    (512, 7),
                ],
                (3, 5),
                (1, 2),
            )
        ]
    elif kind == "depthwise-ragged":
        shapes = [
            (c, c, k, s, n, c)
            for (c, n), k, s in itertools.product(
                [(24, 88), (24, 44), (60, 52), (58, 28), (116, 26), (116, 28), (232, 14)],
                (3, 5),
                (1, 2),
            )
        ]
    elif kind == "grouped":
        shapes = [
            (i, o, k, 1, n, g)
            for (i, o, g), (n, k) in itertools.product(
                [(240, 60, 3), (60, 240, 3), (480, 120, 3), (128, 128, 4), (64, 64, 2)],
                [(28, 1), (14, 1), (14, 3), (7, 1)],
            )
        ]
    elif kind == "stem":
        shapes = [
            (3, c, k, 2, n, 1) for c, k, n in itertools.product((16, 32, 64), (3, 6), (160, 224))
        ]
    else:
        shapes = [
            (i, o, k, s, n, 1)
            for (i, o), n, (k, s) in itertools.product(
                [
                    (16, 64),
                    (24, 24),
                    (32, 32),
                    (48, 48),
                    (60, 60),
                    (64, 64),
                    (64, 256),
                    (116, 116),
                    (128, 128),
                    (256, 256),
                    (512, 128),
                ],
                (7, 14, 28, 56),
                ((1, 1), (3, 1), (3, 2)),
            )
            if i * o * k * k * n * n < 4e8
        ]
    for cin, cout, k, stride, size, group in shapes:
        pixels = (size // stride) ** 2
        features = {
            "mac": pixels * cout * (cin // group) * k * k,
            "output": pixels * cout,
            "patch": pixels * cin * k * k if k > 1 else 0,
            "call": 1,
        }
        pair = [
            _probe_time(_profile(*_conv_net(cin, cout, k, stride, size, group, q)))
            for q in (False, True)
        ]
        rows.append(({k: float(v) for k, v in features.items()}, pair[0], pair[1]))
    return rows


def fit(features: list[dict[str, float]], times: list[float]) -> dict[str, float]:
    """Returns µs per unit of each feature (ns per element for all but the call)."""
    names = list(features[0])
    matrix = np.array([[f[n] for n in names] for f in features], float)
    scale = matrix.max(axis=0)
    scale[scale == 0] = 1
    target = np.array(times)
    solution, _ = nnls(matrix / scale / target[:, None], np.ones(len(target)))
    return {n: float(v) for n, v in zip(names, solution / scale, strict=True)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a target file that has another target's rules and the times of this machine."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--extends", default="cpu", help="the other target; default: cpu")
    print(f'extends = "{parser.parse_args(arguments).extends}"')
    print(f'summary = "{platform.machine()}, as tools/measure_costs.py measured it"\n')
    for kind in ("dense", "depthwise", "depthwise-ragged", "grouped", "stem", "matmul"):
        rows = product_rows() if kind == "matmul" else conv_rows(kind)
        features = [r[0] for r in rows]
        columns = {"float": [r[1] for r in rows], "integer": [r[2] for r in rows]}
        for label, times in columns.items():
            c = fit(features, times)
            guess = [sum(c[n] * f[n] for n in c) for f in features]
            error = np.median(np.abs(np.log(np.array(guess) / np.array(times))))
            print(
                f"[costs.{kind}.{label}]  # median error {np.exp(error) - 1:.0%}, n = {len(rows)}"
            )
            print(f"mac_ns = {c['mac'] * 1e3:.5f}")
            print(f"output_ns = {c['output'] * 1e3:.4f}")
            print(f"patch_ns = {c['patch'] * 1e3:.4f}")
            print(f"call_us = {c['call']:.2f}\n", flush=True)


if __name__ == "__main__":
    main()
