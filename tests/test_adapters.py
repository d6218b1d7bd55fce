import copy

import peft
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import BertConfig, BertModel

from course_lib.adapters import (
    AdapterError,
    HoulsbyAdapter,
    LoRALinear,
    PromptTuning,
    adapter_parameters,
    add_houlsby,
    add_lora,
    add_prompt,
    load_adapters,
    merge,
    save_adapters,
    trainable_parameters,
)
from course_lib.datasets import encoder_folder
from course_lib.transformer import Encoder, EncoderConfig, MaskedLanguageModel, mean_pool

# peft asks transformers by an old name
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
IDS = torch.tensor([[2, 7, 8, 9, 3], [2, 11, 3, 0, 0], [2, 40, 41, 3, 0]])
MASK = (IDS > 0).long()
ADD = {"lora": add_lora, "houlsby": add_houlsby, "prompt": add_prompt}


def small_bert(seed=0, **options):
    torch.manual_seed(seed)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    return BertModel(BertConfig(vocab_size=50, max_position_embeddings=24, **sizes, **options)).eval()


def small_encoder(seed=0):
    config = EncoderConfig(vocabulary=50, hidden=32, layers=2, heads=4, intermediate=64, positions=24)
    return Encoder(config, seed=seed).eval()


def bundled_bert():
    return BertModel.from_pretrained(encoder_folder()).eval()


@pytest.fixture(params=[small_bert, small_encoder], ids=["transformers", "ours"])
def make(request):
    """Builds one of the two kinds of model, always with the same weights."""
    return request.param


@pytest.fixture(params=ADD)
def kind(request):
    return request.param


def hidden(model, ids=IDS, mask=MASK):
    output = model(ids, mask)
    return output if isinstance(output, torch.Tensor) else output.last_hidden_state


def close(a, b, atol=1e-6):
    torch.testing.assert_close(a, b, rtol=0, atol=atol)


@torch.no_grad()
def shake(model, seed=1):
    """Random values in every added parameter: adapters that have learned something."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in adapter_parameters(model).values():
        parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


# the layers


def test_lora_by_hand():
    torch.manual_seed(0)
    linear, x = nn.Linear(5, 3), torch.randn(4, 5)
    layer = shake(LoRALinear(linear, rank=2, alpha=6))
    change = 3.0 * layer.b.detach() @ layer.a.detach()
    expected = torch.stack([linear.weight @ row + linear.bias + change @ row for row in x])
    assert (expected - linear(x)).abs().max() > 0.01, "the change is seen"
    close(layer(x), expected)
    close(layer.merged()(x), expected)
    close(layer(x), expected)  # merged() returned a copy


def test_lora_drops_only_the_input_of_a():
    torch.manual_seed(0)
    linear, x = nn.Linear(6, 6), torch.ones(1, 6)
    layer = LoRALinear(linear, rank=2, dropout=0.5).train()
    close(layer(x), linear(x))  # B is zero, whatever the dropout did
    shake(layer)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))


@pytest.mark.parametrize("rank", [0, 4])
def test_lora_rank_out_of_range(rank):
    with pytest.raises(ValueError, match=f"rank between 1 and 3, not {rank}"):
        LoRALinear(nn.Linear(5, 3), rank=rank)


def test_houlsby_by_hand():
    torch.manual_seed(0)
    adapter, x = shake(HoulsbyAdapter(6, bottleneck=2)), torch.randn(3, 6)
    narrow = x @ adapter.down.weight.T + adapter.down.bias
    bent = narrow * 0.5 * (1 + torch.erf(narrow / 2**0.5))
    close(adapter(x), x + bent @ adapter.up.weight.T + adapter.up.bias)
    with pytest.raises(ValueError, match="at least 1, not 0"):
        HoulsbyAdapter(6, bottleneck=0)


def test_houlsby_starts_near_identity():
    torch.manual_seed(0)
    x = torch.randn(100, 64)
    move = (HoulsbyAdapter(64, bottleneck=8)(x) - x).abs().max()
    assert 0 < move < 0.02


def test_prompt_stands_before_the_words():
    torch.manual_seed(0)
    table = nn.Embedding(50, 4)
    prompt = PromptTuning(table, tokens=3)
    vectors = prompt(prompt.extend(IDS, 0))
    assert vectors.shape == (3, 8, 4)
    close(vectors[1, :3], prompt.prompt)
    close(vectors[:, 3:], table(IDS))
    assert all((table.weight == row).all(1).any() for row in prompt.prompt), "it starts as words of the table"
    with pytest.raises(ValueError, match="at least 1, not 0"):
        PromptTuning(table, tokens=0)


# whole models


def test_lora_starts_as_the_model_itself(make):
    assert torch.equal(hidden(add_lora(make())), hidden(make()))


def test_houlsby_starts_near_the_model(make):
    move = (hidden(add_houlsby(make(), bottleneck=4)) - hidden(make())).abs().max()
    assert 0 < move < 0.02


@pytest.mark.parametrize("targets", [("query", "value"), "key", ("query", "key", "value")])
def test_merged_equals_unmerged(make, targets):
    model = shake(add_lora(make(), targets=targets, rank=4, alpha=8))
    before, names = hidden(model), dict(make().named_parameters()).keys()
    assert (before - hidden(make())).abs().max() > 1e-4  # a hundred times the tolerance
    assert merge(model) is model
    close(hidden(model), before)
    assert dict(model.named_parameters()).keys() == names, "the same layers as before"
    add_lora(model)  # and it may learn again
    close(hidden(model), before)


def test_merged_equals_unmerged_on_the_bundled_encoder():
    model = add_lora(bundled_bert())
    with torch.no_grad():
        for name, parameter in adapter_parameters(model).items():
            if name.endswith(".b"):
                parameter.normal_(std=0.01, generator=torch.Generator().manual_seed(len(name)))
        pooled = mean_pool(hidden(model), MASK)
        unmerged = nn.functional.normalize(pooled)
        merged = nn.functional.normalize(mean_pool(hidden(merge(model)), MASK))
        assert (unmerged - nn.functional.normalize(mean_pool(hidden(bundled_bert()), MASK))).abs().max() > 1e-3
    close(merged, unmerged)


@pytest.mark.parametrize(("kind", "reason"), [("houlsby", "bends its input"), ("prompt", "not to a weight")])
def test_what_cannot_be_merged(make, kind, reason):
    model = ADD[kind](make())
    before = hidden(model)
    with pytest.raises(AdapterError, match=reason):
        merge(model)
    assert torch.equal(hidden(model), before)


def test_nothing_to_merge(make):
    with pytest.raises(AdapterError, match="no adapters to merge"):
        merge(make())


def test_counts(make):
    everything = sum(p.numel() for p in make().parameters())
    layers, size = 2, 32
    for add, options, added in [
        (add_lora, {"rank": 4}, layers * 2 * 4 * (size + size)),
        (add_lora, {"rank": 1, "targets": "key"}, layers * (size + size)),
        (add_houlsby, {"bottleneck": 5}, layers * 2 * (2 * size * 5 + size + 5)),
        (add_prompt, {"tokens": 7}, 7 * size),
    ]:
        assert trainable_parameters(add(make(), **options)) == (added, everything + added)
    assert trainable_parameters(make()) == (everything, everything)


def test_counts_on_the_bundled_encoder():
    for add, options, added in [(add_lora, {}, 73_728), (add_houlsby, {}, 226_080), (add_houlsby, {"bottleneck": 32}, 299_904)]:
        assert trainable_parameters(add(Encoder.from_pretrained(), **options))[0] == added


def test_a_shared_parameter_counts_once():
    model = add_lora(MaskedLanguageModel(small_encoder()))
    assert trainable_parameters(model)[1] == sum(p.numel() for p in set(model.parameters()))


def test_only_the_added_parameters_learn(make, kind):
    model = ADD[kind](make())
    names = set(adapter_parameters(model))
    assert {name for name, p in model.named_parameters() if p.requires_grad} == names
    if kind == "lora":
        shake(model)  # with B = 0 no gradient reaches A
    weights = torch.randn(3, 5, 32, generator=torch.Generator().manual_seed(0))
    (hidden(model) * weights).sum().backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert reached == names


def test_a_step_leaves_the_base_alone(make, kind):
    model = ADD[kind](make())
    before = {name: p.clone() for name, p in model.named_parameters()}
    optimiser = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=0.1)
    hidden(model)[:, 0, 0].sum().backward()
    optimiser.step()
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert changed and changed <= set(adapter_parameters(model))


def test_prompt_is_seen_and_masks_stay_right(make):
    """Every word looks at the prompt; padding is still not seen, and hidden vectors fit the caller's mask."""
    model = add_prompt(make(), tokens=4)
    out = hidden(model)
    assert out.shape == (3, 5, 32)
    assert (out - hidden(make())).abs().max() > 0.01
    close(out[1, :3], hidden(model, IDS[1:2, :3], MASK[1:2, :3])[0])
    close(hidden(model, IDS[:1], None), out[:1])
    whole = hidden(add_prompt(make(), tokens=4, keep=True))
    assert whole.shape == (3, 9, 32)
    close(whole[:, 4:], out)


def test_prompt_takes_every_form_of_call():
    model, prompt = add_prompt(small_bert(), tokens=4), add_prompt(small_encoder(), tokens=4)
    named = model(input_ids=IDS, attention_mask=MASK, token_type_ids=torch.zeros_like(IDS))
    close(named.last_hidden_state, hidden(model))
    close(named.pooler_output, model.pooler(named.last_hidden_state))
    as_tuple = model(IDS, MASK, return_dict=False)
    close(as_tuple[0], named.last_hidden_state)
    close(as_tuple[1], named.pooler_output)
    out, weights = prompt(IDS, MASK, segments=torch.zeros_like(IDS), weights=True)
    close(out, hidden(prompt))
    assert weights[0].shape == (3, 4, 9, 9) and (weights[0][1, :, :, -2:] < 1e-9).all()
    with pytest.raises(AdapterError, match="takes input_ids"):
        model(inputs_embeds=torch.zeros(1, 2, 32))


def test_prompt_and_text_share_the_positions():
    with pytest.raises(ValueError, match="25 tokens, but there are 24 positions"):
        add_prompt(small_encoder(), tokens=20)(IDS, MASK)


def test_same_seed_same_adapters(make, kind):
    one, two, other = (adapter_parameters(ADD[kind](make(), seed=s)) for s in (3, 3, 4))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_layers_do_not_start_alike(make):
    matrices = [p for name, p in adapter_parameters(add_lora(make())).items() if name.endswith(".a")]
    assert len(matrices) == 4 and not torch.equal(matrices[0], matrices[1])


def test_a_copy_is_a_model_of_its_own(make, kind):
    model = ADD[kind](make())
    twin = copy.deepcopy(model)
    before = hidden(model)
    shake(twin)
    assert torch.equal(hidden(model), before)
    assert not torch.equal(hidden(twin), before)


def test_nothing_to_add_to(make):
    with pytest.raises(AdapterError, match=r"called \['queries'\]; choose targets among .*'query'"):
        add_lora(make(), targets=("queries", "value"))
    with pytest.raises(AdapterError, match="Linear has no BERT blocks"):
        add_houlsby(nn.Linear(3, 3))
    with pytest.raises(AdapterError, match="Linear has no table of word vectors"):
        add_prompt(nn.Linear(3, 3))


@pytest.mark.parametrize("second", ADD)
def test_one_kind_of_adapter_per_model(make, kind, second):
    model = ADD[kind](make())
    before, names = hidden(model), dict(model.named_parameters()).keys()
    with pytest.raises(AdapterError, match="already"):
        ADD[second](model)
    assert torch.equal(hidden(model), before) and dict(model.named_parameters()).keys() == names


# files


def test_round_trip(make, kind, tmp_path):
    model = shake(ADD[kind](make()))
    path = save_adapters(model, tmp_path / "deep" / "adapters.safetensors")
    assert [p.name for p in path.parent.iterdir()] == ["adapters.safetensors"]
    bare = load_adapters(make(), path)
    assert torch.equal(hidden(bare), hidden(model))
    assert trainable_parameters(bare) == trainable_parameters(model)
    dressed = load_adapters(shake(ADD[kind](make(), seed=9), seed=5), path)
    assert torch.equal(hidden(dressed), hidden(model))
    assert set(load_file(path)) == set(adapter_parameters(model)), "the added parameters alone"


def test_options_come_back(tmp_path):
    path = save_adapters(shake(add_lora(small_bert(), targets="key", rank=3, alpha=5, dropout=0.2)), tmp_path / "a")
    layer = load_adapters(small_bert(), path).encoder.layer[1].attention.self.key
    assert layer.a.shape == (3, 32) and layer.scale == 5 / 3 and layer.dropout.p == 0.2


def test_files_of_the_bundled_encoder_are_small(tmp_path, kind):
    model = ADD[kind](Encoder.from_pretrained())
    path = save_adapters(model, tmp_path / kind)
    assert path.stat().st_size <= 1_000_000
    assert torch.equal(hidden(load_adapters(Encoder.from_pretrained(), path)), hidden(model))


def test_half_the_size_in_bfloat16(tmp_path):
    model = shake(add_houlsby(small_bert()))
    whole, half = save_adapters(model, tmp_path / "a"), save_adapters(model, tmp_path / "b", dtype=torch.bfloat16)
    assert half.stat().st_size < 0.7 * whole.stat().st_size
    loaded = load_adapters(small_bert(), half)
    assert next(iter(adapter_parameters(loaded).values())).dtype == torch.float32
    close(hidden(loaded), hidden(model), atol=0.02)


def test_another_base_is_refused(make, kind, tmp_path):
    path = save_adapters(ADD[kind](make()), tmp_path / "a")
    other = make(seed=1)
    before = hidden(other)
    with pytest.raises(AdapterError, match="trained on other weights"):
        load_adapters(other, path)
    assert torch.equal(hidden(other), before) and not adapter_parameters(other)


def test_a_pooler_does_not_matter(tmp_path):
    path = save_adapters(shake(add_lora(small_bert())), tmp_path / "a")
    other = small_bert()
    other.pooler = None
    assert len(adapter_parameters(load_adapters(other, path))) == 8


def test_another_rank_is_refused(make, tmp_path):
    path = save_adapters(add_lora(make(), rank=4), tmp_path / "a")
    model = shake(add_lora(make(), rank=2))
    before = hidden(model)
    with pytest.raises(AdapterError, match=r"holds lora .*rank 4.*, the model has lora .*rank 2"):
        load_adapters(model, path)
    with pytest.raises(AdapterError, match=r"the model has houlsby \(bottleneck 24\)"):
        load_adapters(add_houlsby(make()), path)
    assert torch.equal(hidden(model), before)


def test_files_that_are_none(tmp_path):
    with pytest.raises(AdapterError, match="no adapters: give the model"):
        save_adapters(small_bert(), tmp_path / "a")
    with pytest.raises(AdapterError, match="missing"):
        load_adapters(small_bert(), tmp_path / "a")
    (tmp_path / "text").write_text("not tensors")
    save_file({"x": torch.zeros(2)}, tmp_path / "tensors")
    for name in ("text", "tensors"):
        with pytest.raises(AdapterError, match="no file of adapters"):
            load_adapters(small_bert(), tmp_path / name)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [('"format": 1', '"format": 9', "format 9.*update course_lib"), ("", "", "does not match its own")],
)
def test_altered_files(tmp_path, old, new, reason):
    path = save_adapters(add_lora(small_bert()), tmp_path / "a")
    with safe_open(path, framework="pt") as file:
        metadata = {key: text.replace(old, new) if old else text for key, text in file.metadata().items()}
    tensors = load_file(path)
    if not old:
        next(iter(tensors.values()))[0, 0] += 1
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(AdapterError, match=reason):
        load_adapters(small_bert(), path)


# beside peft


def test_lora_equals_peft():
    config = peft.LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"])
    theirs, ours = peft.get_peft_model(bundled_bert(), config).eval(), add_lora(bundled_bert(), rank=8, alpha=16)
    assert theirs.get_nb_trainable_parameters() == trainable_parameters(ours)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in adapter_parameters(ours).items():
            parameter.normal_(std=0.02, generator=generator)
            layer, matrix = name.rsplit(".", 1)
            copied = theirs.get_parameter(f"base_model.model.{layer}.lora_{matrix.upper()}.default.weight")
            copied.copy_(parameter)
        change = hidden(ours) - hidden(bundled_bert())
        assert change.abs().max() > 0.01
        close(hidden(ours), hidden(theirs))


def test_prompt_equals_peft():
    config = peft.PromptTuningConfig(num_virtual_tokens=6, task_type="FEATURE_EXTRACTION")
    theirs, ours = peft.get_peft_model(small_bert(), config).eval(), add_prompt(small_bert(), tokens=6, keep=True)
    with torch.no_grad():
        theirs.prompt_encoder["default"].embedding.weight.copy_(ours.embeddings.word_embeddings.prompt)
        close(hidden(ours), theirs(input_ids=IDS, attention_mask=MASK).last_hidden_state)
    assert theirs.get_nb_trainable_parameters()[0] == trainable_parameters(ours)[0] == 6 * 32


def learn(model, *, steps=30, after=lambda step: None):
    """Losses of a tiny task: is the first word from the upper half of the vocabulary?"""
    torch.manual_seed(0)
    ids = torch.randint(5, 50, (16, 8))
    target, head = (ids[:, 0] > 27).float(), nn.Linear(32, 1).requires_grad_(False)
    optimiser = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=0.03)
    losses = []
    for step in range(steps):
        output = model(input_ids=ids, attention_mask=torch.ones_like(ids))
        vectors = output if isinstance(output, torch.Tensor) else output.last_hidden_state
        loss = nn.functional.binary_cross_entropy_with_logits(head(vectors.mean(1))[:, 0], target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        after(step)
        losses.append(loss.item())
    return losses


def test_ours_learn(make, kind):
    losses = learn(ADD[kind](make()))
    floor = {"lora": 0.05, "houlsby": 0.05, "prompt": 0.002}  # to a model of random weights a prompt says little
    assert losses[-1] < losses[0] - floor[kind]


def quiet_bert():
    return small_bert(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


def test_adalora_of_peft_learns_and_gives_up_ranks():
    config = peft.AdaLoraConfig(
        target_modules=["query", "value"], init_r=6, target_r=3, total_step=30, tinit=5, tfinal=5, deltaT=1
    )
    model = peft.get_peft_model(quiet_bert(), config)
    losses = learn(model, after=model.base_model.update_and_allocate)
    assert losses[-1] < 0.95 * losses[0]
    kept = sum(int((p != 0).sum()) for name, p in model.named_parameters() if "lora_E" in name)
    assert kept == 4 * 3, "four matrices of rank 6 at first, 3 each on average at last"


def test_prefix_tuning_of_peft_learns():
    config = peft.PrefixTuningConfig(num_virtual_tokens=4, task_type="FEATURE_EXTRACTION")
    model = peft.get_peft_model(quiet_bert(), config)
    assert model.get_nb_trainable_parameters()[0] == 4 * 2 * 2 * 32  # tokens × (key, value) × layers × hidden
    losses = learn(model)
    assert losses[-1] < losses[0] - 0.005
