from onnxq.graph.liveness import LivePeak, live_peak
from tests.passes.rewrite.building import build


def test_a_chain_needs_input_and_output_of_one_node() -> None:
    graph = build(
        "f (float[1, 100] x) => (float[1, 100] y) { a = Relu (x) b = Exp (a) y = Neg (b) }"
    ).graph
    assert live_peak(graph, {}) == LivePeak(800, "node_a", 2, 0)


def test_a_value_lives_until_its_last_use() -> None:
    graph = build(
        """f (float[1, 100] x) => (float[1, 100] y) {
        a = Relu (x)
        b = Exp (a)
        c = Neg (b)
        y = Add (a, c)
    }"""
    ).graph
    assert live_peak(graph, {}) == LivePeak(1200, "node_c", 3, 0)


def test_an_output_lives_to_the_end() -> None:
    graph = build(
        """f (float[1, 100] x) => (float[1, 100] a, float[1, 50] d) {
        a = Relu (x)
        b, c = Split <axis = 1, num_outputs = 2> (a)
        d = Neg (b)
    }"""
    ).graph
    assert live_peak(graph, {}) == LivePeak(800, "node_a", 2, 0)


def test_a_large_value_in_the_middle_is_the_peak_and_integers_do_not_count() -> None:
    graph = build(
        """f (float[1, 10] x, int64[2] n) => (float[1, 1] y) {
        a = Expand (x, n)
        s = Shape (a)
        y = ReduceMax <keepdims = 1> (a)
    }""",
        n=[100, 10],
    ).graph
    assert live_peak(graph, {}) == LivePeak(4040, "node_a", 2, 0)


def test_observed_shapes_win_and_unknown_ones_are_told() -> None:
    graph = build("f (float[N] x) => (float[N] y) { y = Relu (x) }").graph
    assert live_peak(graph, {}) == LivePeak(0, "node_y", 2, 2)
    assert live_peak(graph, {"x": (5,), "y": (5,)}) == LivePeak(40, "node_y", 2, 0)
