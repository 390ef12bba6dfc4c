"""Bytes of a model, judged by arithmetic and by the allocator's own storages."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gpu_optimizer import parameter_memory
from gpu_optimizer.errors import ProfilingError


class Tied(nn.Module):
    """Embedding and output layer of a language model share one matrix."""

    def __init__(self, words: int = 10, width: int = 4) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.head = nn.Linear(width, words, bias=False)
        self.head.weight = self.embedding.weight


def test_every_module_holds_its_own_and_the_sums_agree():
    model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2, dtype=torch.float64))
    memory = parameter_memory(model)
    assert [(m.name, m.kind, m.parameter_bytes, m.buffer_bytes) for m in memory.modules] == [
        ("0", "Linear", (15 + 5) * 4, 0),
        ("1", "BatchNorm1d", 10 * 4, 10 * 4 + 8),  # running mean and variance, and one int64 counter
        ("3", "Linear", (10 + 2) * 8, 0),
    ]
    assert memory.parameters == 20 + 10 + 12
    assert memory.gradient_bytes == 0
    assert memory.total_bytes == 80 + 40 + 48 + 96
    assert memory.by_dtype == {"float32": 80 + 40 + 40, "int64": 8, "float64": 96}
    assert memory.by_device == {"cpu": memory.total_bytes}


def test_gradients_count_once_they_are_there():
    model = nn.Linear(6, 2)
    model(torch.ones(1, 6)).sum().backward()
    assert parameter_memory(model).gradient_bytes == (12 + 2) * 4
    model.weight.grad = None
    assert parameter_memory(model).gradient_bytes == 2 * 4


def test_tied_weights_and_their_gradient_count_once():
    model = Tied()
    model.head(model.embedding(torch.tensor([1, 2]))).sum().backward()
    memory = parameter_memory(model)
    assert memory.parameter_bytes == 10 * 4 * 4
    assert memory.gradient_bytes == 10 * 4 * 4
    assert memory.parameters == 40
    head = next(m for m in memory.modules if m.name == "head")
    assert head.total_bytes == 0
    assert head.shared_with == ("embedding",)


def test_tied_weights_count_once_on_the_meta_device():
    model = nn.Module()
    model.embedding, model.head = nn.Module(), nn.Module()
    model.embedding.weight = model.head.weight = nn.Parameter(torch.empty(1000, 64, device="meta"))
    assert parameter_memory(model).parameter_bytes == 1000 * 64 * 4


def test_views_of_one_flat_buffer_count_their_ranges_and_keep_the_whole():
    flat = torch.zeros(100)
    model = nn.Module()
    model.a = nn.Parameter(flat[0:30])
    model.b = nn.Parameter(flat[20:60])  # ten elements of it are also in `a`
    memory = parameter_memory(model)
    assert memory.parameter_bytes == 60 * 4
    assert memory.storage_bytes == 100 * 4


def test_an_expanded_buffer_takes_what_it_was_made_from():
    model = nn.Module()
    model.register_buffer("mask", torch.ones(1, 7).expand(1000, 7))
    assert parameter_memory(model).buffer_bytes == 7 * 4


def test_buffers_that_are_not_saved_count_too():
    model = nn.Module()
    model.register_buffer("cache", torch.zeros(5, dtype=torch.float16), persistent=False)
    assert parameter_memory(model).buffer_bytes == 10


def test_a_sparse_gradient_counts_its_indices_and_values():
    model = nn.Embedding(100, 4, sparse=True)
    model(torch.tensor([3, 5])).sum().backward()
    assert parameter_memory(model).gradient_bytes == 2 * 8 + 2 * 4 * 4


def test_a_part_is_selected_by_its_path():
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), nn.Linear(2, 2))
    memory = parameter_memory(model)
    assert memory.below("0").parameter_bytes == 2 * 6 * 4
    assert memory.below("").parameter_bytes == 3 * 6 * 4
    with pytest.raises(ProfilingError, match=r"below 'decoder'.*'0\.0'"):
        memory.below("decoder")


def test_a_lazy_module_is_refused_by_the_name_of_its_parameter():
    with pytest.raises(ProfilingError, match=r"0\.weight has no shape yet; run the model on one input"):
        parameter_memory(nn.Sequential(nn.LazyLinear(4)))


def test_something_else_than_a_module_is_refused():
    with pytest.raises(ProfilingError, match=r"expected a torch\.nn\.Module, got dict"):
        parameter_memory({})  # type: ignore[arg-type]


def test_an_empty_parameter_holds_nothing():
    model = nn.Module()
    model.nothing = nn.Parameter(torch.empty(0, 5))
    assert parameter_memory(model).total_bytes == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.lists(st.tuples(st.integers(0, 59), st.integers(1, 60)), max_size=6))
def test_overlapping_views_cover_what_a_set_of_bytes_covers(length, spans):
    flat = torch.zeros(length)
    model = nn.Module()
    covered: set[int] = set()
    for i, (start, count) in enumerate(spans):
        view = flat[start : start + count]
        model.register_parameter(f"p{i}", nn.Parameter(view))
        covered.update(range(start, min(start + count, length)))
    memory = parameter_memory(model)
    assert memory.parameter_bytes == len(covered) * 4
    assert memory.parameters == len(covered)
