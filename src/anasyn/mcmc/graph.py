"""What `torch.compile` does not see in many chains: its graph, rewritten before it makes loops of it."""

import torch
from torch import Tensor
from torch._inductor import inductor_prims
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files
from torch._inductor.pattern_matcher import (
    Arg,
    CallFunction,
    KeywordArg,
    Match,
    PatternMatcherPass,
    register_graph_pattern,
)
from torch.fx import Graph, Node
from torch.fx.node import Argument

__all__ = ["ManyChains"]

aten = torch.ops.aten
LANES = 16  # numbers in a processor's vector
THIN = 128  # numbers that the two shorter sides of a product span, such as 2 coordinates by 64 features
LARGE = 2**22  # multiplications of a product that is worth oneDNN's longer call
HOLD = 3  # operations that make a number worth holding where it is read again
COSTLY = {aten.exp.default, aten.log.default, aten.sigmoid.default, aten.tanh.default}  # each alone worth as much


class ManyChains(CustomGraphPass):
    """The graph of chains' transitions on a processor, with three things changed; the first two in float32 alone.

    *Products of matrices.* A thin one, of many chains' few coordinates, becomes a sum, in one loop with what stands
    about it. A large one is computed by oneDNN, on AMD's processors twice as fast as by the MKL that PyTorch asks. A
    bias is added apart.

    *SiLU*, x / (1 + exp(−x)), is x σ(x), with the one σ(x) that its derivative has, too: an exponential costs more than
    all else in a loop.

    *What is read again.* A few numbers of each chain that several operations read are made once and held, (n, 3) laid
    out as (3, n). The compiler writes each into all that read it, those into all that read them, and so on: numbers of
    which transitions are a chain it would write thousands of times, for a minute, and find again that they are the
    same. And a loop over the chains computes sixteen at a time, where one over rows of three computes three.
    """

    def __call__(self, graph: Graph) -> None:
        biases.apply(graph)
        rewritten.apply(graph)
        share_sigmoids(graph)
        hold_what_is_read_again(graph)

    def uuid(self) -> bytes:
        """By which the compiler knows whether it has compiled the same before."""
        return get_hash_for_files((__file__,))


def on_processor(node: Node) -> bool:
    """Whether it makes a tensor there, of float32."""
    made = node.meta.get("val")
    return isinstance(made, Tensor) and made.device.type == "cpu" and made.dtype == torch.float32


biases = PatternMatcherPass("biases")  # a pass of its own: what a pass makes it does not look at again
rewritten = PatternMatcherPass("many chains")
PRODUCT = CallFunction(aten.mm.default, Arg(), Arg())
PRODUCT_AND_BIAS = CallFunction(aten.addmm.default, Arg(), Arg(), Arg())
X = KeywordArg("x")
EXPONENTIAL = CallFunction(aten.exp.default, CallFunction(aten.neg.default, X))
SILU = CallFunction(aten.div.Tensor, X, CallFunction(aten.add.Tensor, EXPONENTIAL, 1))


def sides(match: Match) -> tuple[int, int, int]:
    """n, k and m of the product of (n, k) and (k, m)."""
    a, b = (node.meta["val"] for node in match.args[-2:])
    return a.shape[0], a.shape[1], b.shape[1]


def is_thin(match: Match) -> bool:
    shortest, shorter, _ = sorted(sides(match))
    return on_processor(match.output_node()) and shortest * shorter <= THIN


def is_large(match: Match) -> bool:
    n, k, m = sides(match)
    rows_in_order = match.args[-2].meta["val"].stride(1) == 1  # oneDNN would copy other ones
    there = torch.backends.mkldnn.is_available()
    return there and on_processor(match.output_node()) and rows_in_order and n * k * m >= LARGE


@register_graph_pattern(PRODUCT_AND_BIAS, extra_check=lambda match: is_thin(match) or is_large(match), pass_dict=biases)
def apart(match: Match, bias: Node, a: Node, b: Node) -> None:
    match.replace_by_example(lambda bias, a, b: bias + a @ b, [bias, a, b])


@register_graph_pattern(PRODUCT, extra_check=is_thin, pass_dict=rewritten)
def as_sums(match: Match, a: Node, b: Node) -> None:
    n, k, m = sides(match)
    if k < LANES:
        match.replace_by_example(lambda a, b: (a[:, :, None] * in_rows(b)).sum(1), [a, b])
    elif n < m:
        match.replace_by_example(lambda a, b: sum_by_sum(b.T, a.T).T, [a, b])
    else:
        match.replace_by_example(sum_by_sum, [a, b])


def sum_by_sum(a: Tensor, b: Tensor) -> Tensor:
    """(n, k) times (k, m), few: all m sums are made in one loop, which reads ``a`` once."""
    return torch.stack([(a * column).sum(1) for column in in_rows(b.T)]).T


def in_rows(weights: Tensor) -> Tensor:
    """The same with its rows' numbers side by side, as a loop reads them sixteen at a time."""
    if weights.is_contiguous():
        return weights
    return inductor_prims.force_stride_order(weights, (weights.shape[1], 1))


@register_graph_pattern(PRODUCT, extra_check=is_large, pass_dict=rewritten)
def as_onednns(match: Match, a: Node, b: Node) -> None:
    match.replace_by_example(torch.ops.anasyn.product.default, [a, b])


def product(a: Tensor, b: Tensor) -> Tensor:
    """(n, k) times (k, m) by oneDNN, (n, m)."""
    made: Tensor = torch.ops.mkldnn._linear_pointwise.default(a, b.T, None, "none", [], "")
    return made


library = torch.library.Library("anasyn", "FRAGMENT")  # `custom_op` costs five times as much at a call
library.define("product(Tensor a, Tensor b) -> Tensor")
library.impl("product", product, "CPU")
library.impl("product", lambda a, b: a.new_empty(len(a), b.shape[1]), "Meta")


@register_graph_pattern(SILU, extra_check=lambda match: on_processor(match.output_node()), pass_dict=rewritten)
def as_sigmoid(match: Match, x: Node) -> None:
    match.replace_by_example(lambda x: x * torch.sigmoid(x), [x])


def share_sigmoids(graph: Graph) -> None:
    """Leaves one σ(x) for every x."""
    firsts: dict[Argument, Node] = {}
    for node in graph.find_nodes(op="call_function", target=aten.sigmoid.default):
        node.replace_all_uses_with(firsts.setdefault(node.args[0], node))


def hold_what_is_read_again(graph: Graph) -> None:
    """Holds the few numbers of each of many chains that cost more to make again than to read."""
    operations: dict[Node, int] = {}  # that make a number out of what is held
    for node in [node for node in graph.nodes if makes_few(node)]:
        count = sum(operations.get(read, 0) for read in node.all_input_nodes)
        if not node.target.is_view:
            count += HOLD if node.target in COSTLY else 1
            if count >= HOLD and len(node.users) > 1 and node.meta["val"].dtype != torch.bool:
                hold(node)
                continue
        operations[node] = count


def makes_few(node: Node) -> bool:
    """Whether it computes a few numbers for each of many chains."""
    made = node.meta.get("val")
    if not isinstance(node.target, torch._ops.OpOverload) or not isinstance(made, Tensor):
        return False
    return made.device.type == "cpu" and made.dim() > 0 and len(made) > LANES >= made[0].numel()


def hold(node: Node) -> None:
    """Follows it by an order to write down what it makes, one number of all chains side by side in memory."""
    graph, users = node.graph, list(node.users)
    chains, *event = node.meta["val"].shape
    strides = torch.empty(*event, chains).movedim(-1, 0).stride()
    with graph.inserting_after(node):
        held = graph.call_function(inductor_prims.force_stride_order, (node, strides))
    for user in users:
        user.replace_input_with(node, held)
