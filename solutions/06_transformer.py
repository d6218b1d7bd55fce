# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
# ---

# %% [markdown]
# # 6 · The Transformer
#
# **Question.** What happens inside BERT?
#
# **We will** compute attention on three words by hand, divide it into heads, build BERT's block, load real weights into it until it agrees
# with `transformers` to five decimals, teach it to guess hidden words, and test what a picture of attention is worth as an explanation.
#
# **You need** lesson 4 (dot product, cross-entropy). CPU. **Time** 45 min reading, 37 min exercises.
#
# Honest news first: of this BERT's 72 attention pictures not one agrees well with which words matter to its output, and the hidden tokens
# that it guesses best in our texts are brackets and full stops.

# %%
import math

import ipywidgets as widgets
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from course_lib import plots
from course_lib.classroom import check
from course_lib.datasets import encoder_folder, load_movielens
from course_lib.evaluation import paired
from course_lib.experiments import cost_card
from course_lib.text import TextEncoder, item_texts, tokenize
from course_lib.transformer import Encoder, MaskedLanguageModel, bert_name, mask_tokens

torch.set_grad_enabled(False)  # we only read, until the section on hidden words
reader = TextEncoder(encoder_folder(), device="cpu")  # its tokenizer, and the BERT of `transformers` for comparison

# %% [markdown]
# ## Three words
#
# "Dark" means one thing in *dark night* and another in *dark comedy*. A vector per word, fixed in a table, cannot tell. So let each word
# collect something from its neighbours before it says what it means: an average of their vectors, weighted by who is relevant. That is
# **attention** (注意力).
#
# Each word sends out three vectors: a **query** (查询) q, what it looks for; a **key** (键) k, what it offers; a **value** (值) v, what it hands
# over. The weight of a pair is the dot product ⟨q, k⟩ of lesson 4, turned into shares by the **softmax**: e to each score, divided by
# their sum. Take queries and keys with two numbers, *noun* (the first) and *adjective* (the second). "Dark" looks for a noun.
# **Guess** where its largest share goes:

# %%
words = ["a", "dark", "comedy"]
q = torch.tensor([[0.5, 0.5], [3.0, 0.0], [0.0, 2.0]])  # (words, 2): what each looks for
k = torch.tensor([[0.0, 0.0], [0.0, 1.5], [1.5, 0.0]])  # (words, 2): what each offers
v = torch.tensor([[0.0], [-1.0], [2.0]])  # (words, 1): how funny it is
scores = q @ k.T / math.sqrt(2)  # (words, words)
weights = scores.softmax(-1)
pd.DataFrame(weights.numpy(), index=[f"{w} looks at" for w in words], columns=words).round(2)

# %% [markdown]
# Each row adds up to 1. "Dark" gives nine tenths to "comedy", so its new value, the weighted average, comes out funny.
# "Comedy" takes on the dark in turn; a real block adds the old vector back (the residual, below):

# %%
pd.DataFrame({"alone": v[:, 0], "after attention": (weights @ v)[:, 0]}, index=words).round(2)

# %% [markdown]
# ## Why √d
#
# The scores were divided by √2, the root of the length d of q. Why? If the entries of q and k are independent with variance 1, then
# ⟨q, k⟩ is a sum of d products, of variance d. At d = 512 scores of ±23 are ordinary, and after e^23 one word takes everything. A softmax in
# that state hardly reacts to a small change of its scores, and nothing can be learned through it. Division by √d brings the variance back
# to 1. **Watch** the largest of 16 shares:

# %%
generator = torch.Generator().manual_seed(2026)
sizes = [2, 8, 32, 128, 512]
largest = {"⟨q, k⟩": [], "⟨q, k⟩ / √d": []}
for d in sizes:
    raw = (torch.randn(500, 1, d, generator=generator) * torch.randn(500, 16, d, generator=generator)).sum(-1)  # (500, 16)
    for name, score in zip(largest, (raw, raw / math.sqrt(d)), strict=True):
        largest[name].append(score.softmax(-1).amax(-1).mean().item())
fig, ax = plots.figure(size=(5.0, 2.8))
for marker, (name, shares) in zip(plots.MARKERS, largest.items(), strict=False):
    ax.plot(sizes, shares, marker=marker, label=name)
ax.set(
    xscale="log",
    xticks=sizes,
    xticklabels=sizes,
    xlabel="d, length of q and k",
    ylabel="largest of 16 shares,\nmean over 500 draws",
    ylim=(0, 1),
)
ax.legend()
plots.show(
    fig,
    alt="Two lines: mean of the largest of 16 attention shares against the length d of random queries and keys, 500 draws. Unscaled it "
    f"rises from {largest['⟨q, k⟩'][0]:.1f} to {largest['⟨q, k⟩'][-1]:.1f}; divided by the root of d it stays near 0.2 to 0.3.",
)
assert largest["⟨q, k⟩"][-1] > 0.85 and max(largest["⟨q, k⟩ / √d"]) < 0.35

# %% [markdown]
# ### Exercise 6.1 · Attend
# 6 min · difficulty 1 of 3 · 2 points
#
# Write `attend(q, k, v)` = softmax(q kᵀ / √d) v. There are n queries and m keys, each key with its value; n and m may differ.
# With q = [[2, 0, 0, 0]], k = [[2, 0, 0, 0], [0, 2, 0, 0]] and v = [[1], [0]] the scaled scores are 2 and 0; the answer is 0.88.
#
# <details><summary>Hint 1</summary>
#
# `q @ k.T` holds all scores, one row for each query. Along which axis must the shares add up to 1?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `(q @ k.T / math.sqrt(d)).softmax(1)`, with d the number of columns of q; then `@ v`.
#
# </details>
# <details><summary>I pass some checks but not all</summary>
#
# d is the length of one query, not the number of queries or keys. Scale before the softmax, not after it.
#
# </details>


# %% nbgrader={"schema_version": 3, "grade_id": "06-1-attend", "solution": true, "grade": false, "locked": false, "task": false}
def attend(q, k, v):
    """softmax(q kᵀ / √d) v.  q (n, d), k (m, d), v (m, e) → (n, e)."""
    ### BEGIN SOLUTION
    scores = q @ k.T / math.sqrt(q.shape[1])  # (n, m)
    return scores.softmax(1) @ v
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "06-1-check", "points": 2, "solution": false, "grade": true, "locked": true, "task": false}
with check("6.1", points=2):
    two_keys = torch.tensor([[2.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0]])
    found = attend(torch.tensor([[2.0, 0.0, 0.0, 0.0]]), two_keys, torch.tensor([[1.0], [0.0]]))
    assert np.shape(found) == (1, 1), "one query, values of one number: the answer has shape (1, 1)"
    assert abs(float(found[0, 0]) - 0.982) > 1e-3, (
        "0.982 comes from scores of 4 and 0: divide by √d before the softmax (√1 divides by nothing: d is the length of a query)"
    )
    assert abs(float(found[0, 0]) - 0.731) > 1e-3, "0.731 comes from a division by d: it is the root of d"
    assert abs(float(found[0, 0]) - 0.491) > 1e-3, "0.491 was scaled after the softmax: the shares no longer add up to 1"
    assert abs(float(found[0, 0]) - 1.0) > 1e-3, (
        "each key has a share of 1: the softmax runs over the keys, not over the queries"
    )
    assert abs(float(found[0, 0]) - 0.8808) < 1e-3, "e² / (e² + 1) is 0.88"
    many = attend(torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.tensor([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]]), torch.eye(3))
    assert np.allclose(np.sum(np.asarray(many), -1), 1), "each query has its own shares, and they add up to 1"
    assert abs(float(many[1, 1]) - 0.8816) < 1e-3, "two queries of two numbers: scores of 0, 4.24 and 2.12 for the second"
    ### BEGIN HIDDEN TESTS
    draw = np.random.default_rng()
    a, b, c = draw.normal(size=(3, 5)), draw.normal(size=(4, 5)), draw.normal(size=(4, 2))
    share = np.exp(a @ b.T / np.sqrt(5))
    truth = share / share.sum(1, keepdims=True) @ c
    assert np.allclose(attend(*map(torch.tensor, (a, b, c))), truth), (
        "on random numbers with 3 queries and 4 keys it is something else"
    )
    ### END HIDDEN TESTS


# %% tags=["wrong"]
def attend(q, k, v):  # no scale
    return (q @ k.T).softmax(-1) @ v


# %% tags=["wrong"]
def attend(q, k, v):  # divides by d
    return (q @ k.T / q.shape[-1]).softmax(-1) @ v


# %% tags=["wrong"]
def attend(q, k, v):  # shares add up over the queries
    return (q @ k.T / math.sqrt(q.shape[-1])).softmax(0) @ v


# %% tags=["wrong"]
def attend(q, k, v):  # scales after the softmax
    return (q @ k.T).softmax(-1) / math.sqrt(q.shape[-1]) @ v


# %% [markdown]
# ## Masks: who may look where
#
# From here on the units are lesson 5's word pieces, brackets and full stops included; an encoder calls them all **tokens**.
# Texts of one batch differ in length; the shorter ones are filled up with [PAD]. Nobody should look there. A **mask** (掩码) is 1 where a
# token stands and 0 where padding does, and it must act *before* the softmax: a score of minus infinity becomes a share of
# exactly 0, and the others still add up to 1.

# %% [markdown]
# ### Exercise 6.2 · Mask the padding
# 8 min · difficulty 2 of 3 · 3 points
#
# Write `masked_weights(scores, attention_mask)`. `scores` is (batch, heads, queries, keys), already scaled; `attention_mask` is (batch, keys),
# 1 for a token and 0 for padding; every text has at least one token. Return the shares, in which no query looks at padding.
# Scores [0, 0, 0] with mask [1, 1, 0] give [0.5, 0.5, 0].
#
# <details><summary>Hint 1</summary>
#
# `attention_mask[:, None, None, :]` has shape (batch, 1, 1, keys), and fits `scores` by broadcasting.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `scores.masked_fill(hidden, -math.inf)` where `hidden` is true at the padding; then softmax over the keys.
#
# </details>
# <details><summary>I pass some checks but not all</summary>
#
# A score of 0 is not "no attention": e⁰ is 1. And zeroing shares after the softmax leaves rows that do not add up to 1.
#
# </details>


# %% nbgrader={"schema_version": 3, "grade_id": "06-2-mask", "solution": true, "grade": false, "locked": false, "task": false}
def masked_weights(scores, attention_mask):
    """Shares of attention without padding.  scores (batch, heads, queries, keys), attention_mask (batch, keys) → like scores."""
    ### BEGIN SOLUTION
    hidden = attention_mask[:, None, None, :] == 0  # (batch, 1, 1, keys)
    return scores.masked_fill(hidden, -math.inf).softmax(-1)
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "06-2-check", "points": 3, "solution": false, "grade": true, "locked": true, "task": false}
with check("6.2", points=3):
    shares = masked_weights(torch.ones(1, 2, 3, 3), torch.tensor([[1, 1, 0]]))
    assert np.shape(shares) == (1, 2, 3, 3), "the shares have the shape of the scores: (batch, heads, queries, keys)"
    assert not np.allclose(shares[0, 0, 0], 1 / 3), (
        "the padding keeps its third: hide keys (the last axis), not queries; or the softmax runs over the queries"
    )
    assert not np.allclose(shares[..., 2], 1), "the mask is upside down: all attention went to the padding"
    assert np.allclose(shares[..., 2], 0), (
        "the padding still gets a share: a score of 0 means e⁰ = 1, not nothing; and the softmax runs over the keys"
    )
    assert np.allclose(np.sum(np.asarray(shares), -1), 1), "rows must add up to 1: mask before the softmax, not after it"
    assert np.allclose(shares[0, 0, 0], [0.5, 0.5, 0]), "two tokens with equal scores share equally"
    uneven = torch.tensor([0.0, 1.0, 2.0]).expand(2, 1, 3, 3).clone()
    shares = masked_weights(uneven, torch.tensor([[1, 1, 0], [1, 1, 1]]))
    assert np.allclose(shares[0, 0, 0], [0.2689, 0.7311, 0], atol=1e-3), "the scores still count among the real tokens"
    assert np.allclose(shares[1, 0, 0], [0.09, 0.2447, 0.6652], atol=1e-3), "each text has its own mask"
    ### BEGIN HIDDEN TESTS
    draw = np.random.default_rng()
    s, m = draw.normal(size=(3, 2, 4, 4)), np.array([[1, 0, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]])
    truth = np.exp(s) * m[:, None, None, :]
    truth = truth / truth.sum(-1, keepdims=True)
    assert np.allclose(masked_weights(torch.tensor(s), torch.tensor(m)), truth), "each text of a batch has its own mask"
    ### END HIDDEN TESTS


# %% tags=["wrong"]
def masked_weights(scores, attention_mask):  # masks after the softmax
    return scores.softmax(-1) * attention_mask[:, None, None, :]


# %% tags=["wrong"]
def masked_weights(scores, attention_mask):  # scores of 0 instead of minus infinity
    return (scores * attention_mask[:, None, None, :]).softmax(-1)


# %% tags=["wrong"]
def masked_weights(scores, attention_mask):  # upside down
    return scores.masked_fill(attention_mask[:, None, None, :] == 1, -1e9).softmax(-1)


# %% tags=["wrong"]
def masked_weights(scores, attention_mask):  # hides queries
    return scores.masked_fill(attention_mask[:, None, :, None] == 0, -1e9).softmax(-1)


# %% [markdown]
# Here is the function as BERT uses it, for any batch of heads. (A large negative number stands in for minus infinity, so that a row
# of nothing but padding does not become 0/0; dropout is switched off outside of training.)
#
# Another mask is the **causal** one (因果掩码): each word sees only itself and what came before. GPT has it, since it must guess the next word;
# BERT looks both ways. With it, "dark" cannot see "comedy":


# %%
def attention(q, k, v, mask=None, *, dropout=0.0):
    """A = softmax(q kᵀ / √d), output = A v.  q (..., queries, d), k (..., keys, d), v (..., keys, e) → output, A."""
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (..., queries, keys)
    if mask is not None:
        scores = scores.masked_fill(~mask.bool(), torch.finfo(scores.dtype).min)
    weights = scores.softmax(-1)
    return F.dropout(weights, dropout) @ v, weights


causal = torch.ones(3, 3).tril()
pd.DataFrame(attention(q, k, v, causal)[1].numpy(), index=[f"{w} looks at" for w in words], columns=words).round(2)

# %% [markdown]
# ## Many heads, one reshape
#
# One attention gives one kind of neighbour. BERT wants several at once: whose adjective am I, what stands before me, which genre is this?
# So it cuts each vector into **heads** (头). MiniLM, the small BERT that we use, has vectors of 384 numbers and 12 heads: each works
# with its own 32. No loop is needed, only a change of shape:
#
# (batch, time, 384) → (batch, time, 12, 32) → (batch, 12, time, 32).

# %% [markdown]
# ### Exercise 6.3 · Split into heads
# 7 min · difficulty 2 of 3 · 3 points
#
# Write `split_heads(x, heads)`: (batch, time, hidden) → (batch, heads, time, hidden / heads). Head 0 gets the *first* hidden / heads numbers
# of each token, head 1 the next, and so on.
# One text, two tokens [1, 2, 3, 4] and [5, 6, 7, 8], two heads: head 0 holds [1, 2] and [5, 6], head 1 holds [3, 4] and [7, 8].
#
# <details><summary>Hint 1</summary>
#
# Two steps: cut the last axis in two, then move the axis of the heads in front of the time.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `x.unflatten(-1, (heads, -1))` has shape (batch, time, heads, dim). Which order of 0, 1, 2, 3 does `permute` need?
#
# </details>
# <details><summary>I pass some checks but not all</summary>
#
# A single `reshape(batch, heads, time, dim)` has the right shape and the wrong numbers: it cuts the text, not the vectors.
#
# </details>


# %% nbgrader={"schema_version": 3, "grade_id": "06-3-heads", "solution": true, "grade": false, "locked": false, "task": false}
def split_heads(x, heads):
    """(batch, time, hidden) → (batch, heads, time, hidden / heads); head j holds the j-th slice of every token."""
    ### BEGIN SOLUTION
    return x.unflatten(-1, (heads, -1)).permute(0, 2, 1, 3)
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "06-3-check", "points": 3, "solution": false, "grade": true, "locked": true, "task": false}
with check("6.3", points=3):
    parts = split_heads(torch.arange(24.0).reshape(1, 3, 8), 2)
    assert np.shape(parts) != (1, 3, 2, 4), "(batch, time, heads, dim) is half of the way: the heads come before the time"
    assert np.shape(parts) == (1, 2, 3, 4), "3 tokens of 8 numbers and 2 heads: the shape is (1, 2, 3, 4)"
    first = np.asarray(parts[0, 0, 0]).tolist()
    assert first != [0, 2, 4, 6], "head 0 took every second number: the slices are contiguous, so `heads` is the outer axis"
    assert first == [0, 1, 2, 3], "head 0 of the first token holds its first four numbers"
    second = np.asarray(parts[0, 0, 1]).tolist()
    assert second != [4, 5, 6, 7], "head 0's second row comes from the first token: cut the vectors first, then swap axes"
    assert second == [8, 9, 10, 11], "head 0 of the second token holds its first four numbers: 8 to 11"
    parts = split_heads(torch.arange(48.0).reshape(2, 3, 8), 2)
    assert np.asarray(parts[1, 0, 0]).tolist() == [24, 25, 26, 27], "texts were mixed: the batch stays the first axis"
    ### BEGIN HIDDEN TESTS
    draw = np.random.default_rng()
    x = draw.normal(size=(2, 5, 12))
    truth = np.stack([x[:, :, 4 * j : 4 * j + 4] for j in range(3)], axis=1)
    found = split_heads(torch.tensor(x), 3)
    assert np.shape(found) == (2, 3, 5, 4), "on two texts of 5 tokens with 3 heads the shape is (2, 3, 5, 4)"
    assert np.allclose(found, truth), "on random vectors head j must be the j-th slice of every token"
    ### END HIDDEN TESTS


# %% tags=["wrong"]
def split_heads(x, heads):  # a single reshape
    return x.reshape(x.shape[0], heads, x.shape[1], -1)


# %% tags=["wrong"]
def split_heads(x, heads):  # interleaved
    return x.unflatten(-1, (-1, heads)).permute(0, 3, 1, 2)


# %% tags=["wrong"]
def split_heads(x, heads):  # forgets to move the heads
    return x.unflatten(-1, (heads, -1))


# %% tags=["wrong"]
def split_heads(x, heads):  # moves the batch's neighbour too far
    return x.unflatten(-1, (heads, -1)).permute(0, 2, 3, 1)


# %% [markdown]
# The module: three linear maps make q, k and v; after the attention the heads are laid side by side again, and a fourth map
# mixes them.


# %%
class MultiHeadAttention(nn.Module):
    """Several attentions side by side, each in its own slice of the hidden vector."""

    def __init__(self, hidden, heads, dropout=0.0):
        super().__init__()
        if heads < 1 or hidden % heads:
            raise ValueError(f"each head takes hidden / heads numbers, but {heads} heads do not divide hidden = {hidden}")
        self.heads, self.dropout = heads, dropout
        self.query, self.key, self.value = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)
        self.output = nn.Linear(hidden, hidden)

    def split(self, x):
        """Cut each vector into heads: (batch, time, hidden) → (batch, heads, time, dim)."""
        x = x.unflatten(-1, (self.heads, -1))  # (batch, time, heads, dim)
        return x.transpose(1, 2)  # (batch, heads, time, dim)

    def forward(self, x, mask=None):
        """Attend from x to x."""
        q, k, v = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))  # (batch, heads, time, dim)
        output, weights = attention(q, k, v, mask, dropout=self.dropout if self.training else 0.0)
        output = output.transpose(1, 2)  # (batch, heads, time, dim) → (batch, time, heads, dim)
        output = output.flatten(2)  # (batch, time, hidden)
        return self.output(output), weights


many = MultiHeadAttention(384, 12)
x = torch.zeros(2, 7, 384)  # two texts of seven tokens
output, weights = many(x)
print(
    "x",
    tuple(x.shape),
    "→ q",
    tuple(many.split(many.query(x)).shape),
    "→ shares",
    tuple(weights.shape),
    "→",
    tuple(output.shape),
)

# %% [markdown]
# ## The block, with real weights
#
# A block looks around (attention), then thinks it over, each position by itself (**feed-forward**, 前馈网络: up to 1,536 numbers, a bend
# called GELU, down to 384). Each half *adds* its result to what came in (a **residual**, 残差), so nothing is lost, and a LayerNorm
# (层归一化) brings each vector back to mean 0 and variance 1, times learned scales.


# %%
class FeedForward(nn.Module):
    """Each position by itself: x → W₂ GELU(W₁ x + b₁) + b₂."""

    def __init__(self, hidden, intermediate):
        super().__init__()
        self.inner = nn.Linear(hidden, intermediate)
        self.outer = nn.Linear(intermediate, hidden)

    def forward(self, x):
        """(batch, time, hidden) → (batch, time, intermediate) → (batch, time, hidden)."""
        return self.outer(F.gelu(self.inner(x)))


class EncoderBlock(nn.Module):
    """y = LayerNorm(x + MultiHeadAttention(x)), z = LayerNorm(y + FeedForward(y))."""

    def __init__(self, hidden, heads, intermediate, dropout=0.0, *, epsilon=1e-12):
        super().__init__()
        self.attention = MultiHeadAttention(hidden, heads, dropout)
        self.attention_norm = nn.LayerNorm(hidden, eps=epsilon)
        self.feed_forward = FeedForward(hidden, intermediate)
        self.feed_forward_norm = nn.LayerNorm(hidden, eps=epsilon)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, mask=None):
        """One round of looking around and thinking it over."""
        attended, weights = self.attention(x, mask)
        x = self.attention_norm(x + self.dropout(attended))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x))), weights


# %% [markdown]
# Six such blocks are MiniLM. Its file of weights is a dictionary of names and tensors; `bert_name` translates our names into its own.
# We fill our blocks from it, one by one:

# %%
stored = load_file(encoder_folder() / "model.safetensors")


def load_block(number):
    """Our block with BERT's weights of this layer."""
    block = EncoderBlock(384, 12, 1536)
    block.load_state_dict({name: stored[bert_name(f"blocks.{number}.{name}")] for name in block.state_dict()})
    return block.eval()


blocks = [load_block(number) for number in range(6)]
print(bert_name("blocks.0.attention.query.weight"), tuple(blocks[0].attention.query.weight.shape))

# %% [markdown]
# Below the blocks, each token becomes the sum of three rows of tables: of its word, of its position (0, 1, 2, …), and of its segment (BERT
# can read two texts at once; ours is always the first). Then again a LayerNorm. The tokenizer puts [CLS] before each text and [SEP]
# after it, as BERT was trained to expect. Let two item texts of different length run through, and
# compare with `transformers.BertModel`. **How close** can two programs come that add up in different orders?

# %% tags=["nbval-ignore-output"]
ratings = load_movielens()
texts = item_texts(ratings.items)
batch = tokenize([texts[0], texts[1]], tokenizer=reader.tokenizer)
ids, mask = batch["input_ids"], batch["attention_mask"]
table = {
    name: stored[f"embeddings.{name}.weight"] for name in ("word_embeddings", "position_embeddings", "token_type_embeddings")
}


def embed(ids, positions=1.0):
    """(batch, time) → (batch, time, 384): word + position + segment, normalised; positions=0 leaves the position out."""
    x = (
        table["word_embeddings"][ids]
        + positions * table["position_embeddings"][: ids.shape[1]]
        + table["token_type_embeddings"][0]
    )
    return F.layer_norm(x, (384,), stored["embeddings.LayerNorm.weight"], stored["embeddings.LayerNorm.bias"], eps=1e-12)


def encode(ids, mask, positions=1.0):
    """Last block's vectors: (batch, time) twice → (batch, time, 384)."""
    x = embed(ids, positions)
    for block in blocks:
        x, _ = block(x, mask[:, None, None, :])
    return x


theirs = reader.model(input_ids=ids, attention_mask=mask).last_hidden_state
real = mask.bool()
gap = (encode(ids, mask) - theirs)[real].abs().max().item()
assert gap < 1e-5
print(f"{tuple(theirs.shape)}, largest difference {gap:.0e}")

# %% [markdown]
# A millionth: rounding. That is the whole way from tokens to `last_hidden_state`; no ingredient of it is hidden anywhere.
#
# One vector per text is then the mean over its tokens, padding left out. **What happens** to *GoldenEye* if we forget the mask in the blocks
# while it stands in a batch with a long text?


# %%
def mean_pool(hidden, mask):
    """One vector per text.  hidden (batch, time, hidden), mask (batch, time) → (batch, hidden)."""
    mask = mask.to(hidden.dtype)[..., None]  # (batch, time, 1)
    return (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)


def cosine(a, b):
    """Cosine of the pooled vectors, first text of each."""
    return F.cosine_similarity(a, b)[0].item()


long = tokenize([texts[1], max(texts, key=len)], tokenizer=reader.tokenizer)
alone = tokenize([texts[1]], tokenizer=reader.tokenizer)
single = mean_pool(encode(alone["input_ids"], alone["attention_mask"]), alone["attention_mask"])
together = {
    "with the mask": encode(long["input_ids"], long["attention_mask"]),
    "without": encode(long["input_ids"], torch.ones_like(long["attention_mask"])),
}
kept = {name: cosine(single, mean_pool(hidden, long["attention_mask"])) for name, hidden in together.items()}
assert kept["with the mask"] > 0.99999 and kept["without"] < 0.99
{name: round(value, 2) for name, value in kept.items()}

# %% [markdown]
# With the mask the neighbour in the batch has no say; without it a film's vector depends on the company it is computed in, a fault
# that no error message reports.
#
# ## Positions
#
# Attention compares all pairs and averages; nothing in it knows what stands first. Only the table of **position embeddings** (位置嵌入) does.
# Take two stories with the same words, and take that table away:

# %%
story = tokenize(["alien hunts human", "human hunts alien"], tokenizer=reader.tokenizer)
same = {}
for name, positions in {"with positions": 1.0, "without": 0.0}.items():
    pooled = mean_pool(
        encode(**{"ids": story["input_ids"], "mask": story["attention_mask"]}, positions=positions), story["attention_mask"]
    )
    same[name] = cosine(pooled[:1], pooled[1:])
assert same["without"] > 0.99999 > 0.999 > same["with positions"]
{name: round(value, 3) for name, value in same.items()}

# %% [markdown]
# Without positions the two are one bag of words. With them they differ, though not by much: this encoder was trained to find
# texts *about* the same thing, and they are.
#
# ## Hidden words: learning without labels
#
# Where do the weights come from? No one labelled anything. BERT's first training is **masked language modelling** (掩码语言模型): hide 15 % of the
# tokens, and guess them from the rest. The text is its own label: **self-supervision** (自监督). Of the chosen tokens 80 % become [MASK], 10 % some
# other token, 10 % stay, so that the model cannot rely on a [MASK] to know where to think.

# %%
special = reader.tokenizer.all_special_ids
settings = {"special": special, "mask_id": reader.tokenizer.mask_token_id, "vocabulary": 30522}
generator = torch.Generator().manual_seed(4)
inputs, labels = mask_tokens(batch["input_ids"], **settings, generator=generator)
for row, answer in zip(inputs, labels, strict=True):
    asked = reader.tokenizer.convert_ids_to_tokens(answer[answer != -100])
    print(reader.tokenizer.decode(row[row != reader.tokenizer.pad_token_id]), "| asked:", *asked)

# %% [markdown]
# A token that fits nowhere is one of the 10 % that were replaced.
#
# The guess at a position is a score for each of 30,522 tokens: the dot product of the position's vector h, after one more linear map, GELU and
# LayerNorm, with each row of the *same* table of words that embedded the input. The decoder is **tied** (权重共享) to it, and the dot
# product of lesson 4 is back, with tokens as the items. The map's W and b, the LayerNorm and one offset per token are the **word head**
# (nothing to do with heads of attention). The loss is the cross-entropy, averaged over the chosen positions.

# %% [markdown]
# ### Exercise 6.4 · The loss of the hidden words
# 8 min · difficulty 2 of 3 · 3 points
#
# Write `masked_loss(logits, labels)`: `logits` (batch, time, vocabulary) are scores, `labels` (batch, time) the right token where one was
# hidden, and −100 elsewhere. Return the mean of −log p(right token) over the hidden positions only, in nats.
# With all scores equal and a vocabulary of 8 it is log 8 = 2.08, however many tokens were hidden.
#
# <details><summary>Hint 1</summary>
#
# `labels != -100` selects positions, in `logits` as well as in `labels`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `logits.log_softmax(-1)[chosen]` has shape (chosen, vocabulary). Pick one number in each row, change the sign, average.
#
# </details>
# <details><summary>I pass some checks but not all</summary>
#
# Divide by the number of hidden positions, not by batch × time; and the softmax runs over the vocabulary.
#
# </details>


# %% nbgrader={"schema_version": 3, "grade_id": "06-4-loss", "solution": true, "grade": false, "locked": false, "task": false}
def masked_loss(logits, labels):
    """Mean −log p(label) over positions whose label is not −100.  (batch, time, vocabulary), (batch, time) → number, nats."""
    ### BEGIN SOLUTION
    chosen = labels != -100
    log_p = logits.log_softmax(-1)[chosen]  # (chosen, vocabulary)
    return -log_p[torch.arange(len(log_p)), labels[chosen]].mean()
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "06-4-check", "points": 3, "solution": false, "grade": true, "locked": true, "task": false}
with check("6.4", points=3):
    even = float(masked_loss(torch.zeros(2, 3, 8), torch.tensor([[-100, 5, -100], [2, -100, -100]])))
    assert even > 0, "a loss is positive: minus the log of a probability"
    assert abs(even - 2 * np.log(8)) > 1e-4, "4.16 is the sum over the two hidden tokens: average them"
    assert abs(even - np.log(8) / 3) > 1e-4, "0.69 divides by all six positions: only the two hidden ones count"
    assert abs(even - np.log(8)) < 1e-4, "with all scores equal each token has p = 1/8, and −log(1/8) = 2.08"
    sure = torch.zeros(1, 3, 4)
    sure[0, 0, 1] = sure[0, 1, 3] = 20.0
    seen = float(masked_loss(sure, torch.tensor([[1, -100, -100]])))
    assert seen < 1, "the right token has p ≈ 1: positions labelled −100 must not count, not even as token 0"
    assert abs(seen) < 1e-4, "a sure and right guess costs nothing"
    wrong = float(masked_loss(sure, torch.tensor([[1, 2, -100]])))
    assert abs(wrong - 10) < 1e-3, (
        "a right and a wrong sure guess cost (0 + 20) / 2: take p of the label, one number a position"
    )
    ### BEGIN HIDDEN TESTS
    draw = np.random.default_rng()
    z, y = draw.normal(size=(3, 5, 7)), draw.integers(0, 7, (3, 5))
    y[draw.random((3, 5)) < 0.6] = -100
    y[0, 0], y[1, 1], y[2, 4] = 6, 0, -100
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    truth = -np.mean([np.log(p[i, j, y[i, j]]) for i in range(3) for j in range(5) if y[i, j] >= 0])
    assert abs(float(masked_loss(torch.tensor(z), torch.tensor(y))) - truth) < 1e-6, (
        "on random scores the mean is something else"
    )
    ### END HIDDEN TESTS


# %% tags=["wrong"]
def masked_loss(logits, labels):  # divides by all positions
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum") / labels.numel()


# %% tags=["wrong"]
def masked_loss(logits, labels):  # adds up
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")


# %% tags=["wrong"]
def masked_loss(logits, labels):  # positions that were not hidden count as token 0
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten().clamp(min=0))


# %% tags=["wrong"]
def masked_loss(logits, labels):  # the sign
    return -F.cross_entropy(logits.flatten(0, 1), labels.flatten())


# %% [markdown]
# Hold back 200 item texts; hide tokens in them and in the 1,482 others, and ask only for those that changed (one left in its place could
# be read off). Three numbers to beat: guessing evenly costs log 30,522 = 10.3 nats; guessing each token by how often it stands in those
# others; and the model as it comes. **Will** a pretrained BERT begin below 10.3?

# %%
order = np.random.default_rng(2026).permutation(len(texts))
generator = torch.Generator().manual_seed(2026)
encoder = Encoder.from_pretrained(encoder_folder())  # the library's, the same code in one piece
model = MaskedLanguageModel(encoder, seed=2026)


def hidden_words(chosen):
    """Hide words in these texts → vectors of the hidden positions (n, 384), the right tokens (n,)."""
    vectors, answers = [], []
    for some in np.array_split(sorted(chosen, key=lambda i: len(texts[i])), len(chosen) // 50):
        batch = tokenize([texts[i] for i in some], tokenizer=reader.tokenizer)
        inputs, labels = mask_tokens(batch["input_ids"], **settings, generator=generator)
        asked = (labels != -100) & (inputs != labels)
        vectors.append(encoder(inputs, batch["attention_mask"])[asked])
        answers.append(labels[asked])
    return torch.cat(vectors), torch.cat(answers)


held_out, learn_from = hidden_words(order[:200]), hidden_words(order[200:])
print("hidden words:", len(learn_from[1]), "to learn from,", len(held_out[1]), "held out")

# %% tags=["nbval-ignore-output"]
others = tokenize([texts[i] for i in order[200:]], tokenizer=reader.tokenizer)
others = others["input_ids"][others["attention_mask"].bool()]  # [CLS] and [SEP] are never hidden, so they do not count
often = torch.bincount(others[others > 102], minlength=30522) + 0.1  # a trace for tokens not met, since log 0 has no end
loss = {
    "evenly": math.log(30522),
    "by frequency": F.cross_entropy(often.log().expand(len(held_out[1]), -1), held_out[1]).item(),
    "MiniLM as shipped": F.cross_entropy(model.decode(held_out[0]), held_out[1]).item(),
}
assert 5 < loss["by frequency"] < 6.5 and len(order[200:]) == 1482 and loss["MiniLM as shipped"] > 10.5
pd.Series(loss, name="loss (nats)").round(1)

# %% [markdown]
# Worse than knowing nothing. This checkpoint is shipped without its word head: after the masked words it was trained to compare sentences,
# and the head was thrown away. Ours is random. Keep the encoder as it is, and learn the head alone (0.18 million numbers beside the
# encoder's 22.57):

# %% tags=["nbval-ignore-output"]
head = [*model.dense.parameters(), *model.norm.parameters(), model.bias]
optimizer = torch.optim.Adam(head, lr=3e-3)
curve = []
for step in range(161):
    if step < 5 or step % 10 == 0:
        curve.append((step, F.cross_entropy(model.decode(held_out[0]), held_out[1]).item()))
    pick = torch.randint(len(learn_from[1]), (64,), generator=generator)
    with torch.enable_grad():
        cost = F.cross_entropy(model.decode(learn_from[0][pick]), learn_from[1][pick])
        gradients = torch.autograd.grad(cost, head)
    for parameter, gradient in zip(head, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()
loss["head learned"] = curve[-1][1]
scores = {"head learned": model.decode(held_out[0]), "by frequency": often.log().expand(len(held_out[1]), -1)}
is_word = torch.tensor(
    [any(c.isalnum() for c in token) for token in reader.tokenizer.convert_ids_to_tokens(held_out[1].tolist())]
)
table = {}
for kind, rows in (("words", is_word), ("punctuation", ~is_word)):
    each = {name: F.cross_entropy(score[rows], held_out[1][rows], reduction="none") for name, score in scores.items()}
    for name, score in scores.items():
        right = (score[rows].argmax(-1) == held_out[1][rows]).sum().item()
        table[kind, name] = [each[name].mean().item(), right, len(each[name])]
    print(f"{kind}: by frequency − head learned", paired(each["by frequency"], each["head learned"]))
assert loss["head learned"] < loss["by frequency"] - 0.2
pd.DataFrame(table, index=["loss (nats)", "guessed exactly", "of"]).T.round(1)

# %% [markdown]
# Read the rows in pairs. Most exact guesses are punctuation. **Where** does the curve of all tokens cross the two lines?

# %%
steps, values = zip(*curve, strict=True)
fig, ax = plots.figure(size=(5.0, 2.8))
ax.plot(steps, values, "o-", markersize=3, label="head learned, encoder frozen")
ax.axhline(loss["evenly"], color=plots.PALETTE[1], linestyle="--", label="evenly")
ax.axhline(loss["by frequency"], color=plots.PALETTE[2], linestyle="-.", label="by frequency")
ax.set(xlabel="steps of 64 hidden words", ylabel="held-out loss (nats)", ylim=(0, 12))
ax.legend(loc="lower left")
plots.show(
    fig,
    alt="Line of the held-out loss of masked words against training steps of the head. It starts at about 11 nats, above even guessing at "
    "10.3, is near 8 after one step, and after 160 steps lies near 5.0, below guessing by frequency at about 5.5.",
)

# %% [markdown]
# Even guessing is passed after a single step, guessing by frequency after some forty. The frozen vectors hold something of what stands
# under the mask: on punctuation, which follows a pattern, the head gains 0.8 nats and is right more often than not. On words it guesses
# 15 of 174 exactly, but its gain of 0.3 nats has an interval that includes 0. Whether training the *whole* encoder this way helps a
# recommender is another question, not measured here.
#
# ## Pictures of attention
#
# Shares are easily drawn, and tempting. Three of the 72 heads, one text; rows look, columns are looked at.

# %%
_, seen = encoder(ids[:1], mask[:1], weights=True)  # six times (1, 12, time, time)
time = int(mask[0].sum())
tokens = reader.tokenizer.convert_ids_to_tokens(ids[0, :time])
names = [token if any(c.isalnum() for c in token) else f"“{token}”" for token in tokens]


def picture(ax, layer, head):
    """Heat map of one head's shares on the first text; layers and heads from 1."""
    ax.imshow(seen[layer - 1][0, head - 1, :time, :time], vmin=0, vmax=1, cmap="viridis")
    ax.set_xticks(range(time), names, rotation=90, fontsize=9)
    ax.set_yticks(range(time), names, fontsize=9)
    ax.set(title=f"layer {layer}, head {head}", xlabel="token looked at", ylabel="token that looks")
    ax.grid(visible=False)


previous = [block[0, :, :time, :time].diagonal(-1, -2, -1).mean(-1) for block in seen]  # (heads,) for each layer
to_cls = torch.stack([block[0, :, :time, 0].mean(-1) for block in seen])  # (layers, heads)
before = (1, int(previous[0].argmax()) + 1)
parked = tuple(i + 1 for i in divmod(int(to_cls.argmax()), 12))  # (layer, head)
fig, axes = plots.figure(columns=3, size=(13, 4.8))
for ax, chosen in zip(axes, (before, parked, (6, 5)), strict=True):
    picture(ax, *chosen)
for ax in axes[1:]:
    ax.set_ylabel("")
fig.colorbar(axes[-1].images[0], ax=axes, label="share of attention", shrink=0.6)
plots.show(
    fig,
    alt=f"Three heat maps of attention shares on the text of Toy Story, tokens by tokens. Layer {before[0]} head {before[1]} is a bright line "
    f"just below the diagonal: each token looks at the one before it. Layer {parked[0]} head {parked[1]} is one bright column: "
    f"more than four fifths go to [CLS]. Layer 6 head 5 is spread over [CLS] ({to_cls[5, 4]:.0%}), toy, comedy, animation and the year.",
)
assert previous[0].max() > 0.95 and 0.8 < to_cls.max() < 0.9

# %% [markdown]
# The first is a clean piece of mechanism, "copy the word before me". The second spends it on [CLS]; shares must add up to 1, and such
# heads are often said to park there what they do not need. Look through the others; **find** one that seems to *understand*.


# %% tags=["nbval-ignore-output"]
def look(layer, head):
    """One head on Toy Story."""
    fig, ax = plots.figure(size=(5.6, 5.0))
    picture(ax, layer, head)
    share = to_cls[layer - 1, head - 1]
    plots.show(fig, alt=f"Heat map of the attention shares of layer {layer}, head {head}; {share:.0%} of it goes to [CLS].")


widgets.interact(look, layer=widgets.IntSlider(6, 1, 6), head=widgets.IntSlider(5, 1, 12))

# %% [markdown]
# ## What the pictures do not prove
#
# "The model looks at *toy*, therefore *toy* decides." Does it? Test: hide one word from everybody, by the mask (so it is left out of
# the mean as well), and measure how far the text's vector moves (1 − cosine). Punctuation does not count as a word. Do so for each
# word of 40 texts, and compare with the attention it had received, averaged over all heads and all queries. **Before you run it:** in how many texts out of 40 will the most attended word move the vector more than
# a random other one? In how many will it be the word that moves it most?


# %%
def effects(text):
    """Attention received (layers, heads, words) and movement when hidden (words,); a word has a letter or a digit."""
    ids = tokenize([text], tokenizer=reader.tokenizer)["input_ids"]  # (1, time)
    tokens = reader.tokenizer.convert_ids_to_tokens(ids[0])
    places = [k for k, token in enumerate(tokens) if token not in ("[CLS]", "[SEP]") and any(c.isalnum() for c in token)]
    hidden, seen = encoder(ids, torch.ones_like(ids), weights=True)
    received = torch.cat(seen).mean(2)[..., places]  # (layers, heads, words)
    one_less = 1 - torch.eye(ids.shape[1], dtype=torch.long)[places]  # (words, time): one word hidden in each row
    without = mean_pool(encoder(ids.expand(len(one_less), -1), one_less), one_less)
    return received.numpy(), 1 - F.cosine_similarity(without, mean_pool(hidden, torch.ones_like(ids))).numpy()


tests = [effects(texts[i]) for i in order[:40]]

# %% tags=["nbval-ignore-output"]
draw = np.random.default_rng(2026)
rows = []
for received, moved in tests:
    top = received.mean((0, 1)).argmax()
    other = draw.choice(np.delete(np.arange(len(moved)), top))
    rows.append((moved[top], moved[other], moved[top] > moved[other], moved[top] == moved.max()))
outcome = pd.DataFrame(rows, columns=["most attended", "random other", "moves more", "moves most"]).astype(float).mean()
print(
    f"moves more than a random other: {40 * outcome['moves more']:.0f} of 40 texts; moves most: {40 * outcome['moves most']:.0f}"
)
assert outcome["most attended"] > 2 * outcome["random other"] and 0.6 < outcome["moves most"] < 0.85
outcome[["most attended", "random other"]].rename("1 − cosine, mean").round(2)

# %% [markdown]
# Fair is fair: averaged over 72 heads, attention is a good hint. But in about three texts of ten some *other* word mattered most.
# And nobody shows 72 heads averaged; a talk shows one. So for each head: the rank correlation between the attention that the words
# received from it and how much they mattered (1: same order, 0: unrelated, −1: reversed).

# %%
ranks = [(pd.DataFrame(r.reshape(72, -1).T).rank(), pd.Series(m).rank()) for r, m in tests]
agreement = np.mean([r.corrwith(m).to_numpy() for r, m in ranks], axis=0).reshape(6, 12)
fig, ax = plots.figure(size=(6.4, 3.2))
drawn = ax.imshow(agreement, vmin=-1, vmax=1, cmap="RdBu")
ax.set(xlabel="head", ylabel="layer", xticks=range(12), xticklabels=range(1, 13), yticks=range(6), yticklabels=range(1, 7))
ax.grid(visible=False)
fig.colorbar(drawn, label="rank correlation", shrink=0.8)
against = int((agreement < 0).sum())
plots.show(
    fig,
    alt="Heat map, 6 layers by 12 heads: rank correlation between attention received by words and how far the text's vector moves when "
    f"they are hidden, mean over 40 texts. Values range from about {agreement.min():.1f} to {agreement.max():.1f}, low and high "
    "ones in every layer; about one head in ten is below 0.",
)
assert agreement[5, 4] > 0.45 and 3 <= against <= 14 and 0.5 < agreement.max() < 0.75 and -0.4 < agreement.min() < -0.1
best = int((agreement > agreement[5, 4]).sum())
print(f"heads below 0: {against} of 72; best {agreement.max():.1f}; median {np.median(agreement):.1f}")
print(f"layer 6, head 5: {agreement[5, 4]:.1f}; heads above it: {best}")

# %% [markdown]
# No head agrees well with what mattered, and about one in ten points away from it. Layer 6, head 5, drawn above, is among the best; its
# picture did not tell you so. With 72 pictures to choose from, one that suits the story can always be found. A
# picture shows where a head *read*; not what was there after earlier blocks had mixed the words, not what the later blocks, the residual
# and the feed-forward did with it. If you want to know what a word did, take it away and measure.

# %% [markdown]
# ### Exercise 6.5 · A slide at a meeting
# 8 min · difficulty 2 of 3 · 2 points
#
# A question to explain in words: no check cell can read prose. In a class a teacher gives the points; on your own, write first, then
# unfold the sample answer below.
#
# A colleague shows the heat map of a single head: "the model recommends this film because of the word *animation*". In three or four
# sentences: name two reasons why the picture does not prove this, and an experiment, with a comparison, that could.
#
# <details><summary>Hint 1</summary>
#
# How many pictures could have been shown? What does the position called *animation* contain after five blocks?
#
# </details>
# <details><summary>Hint 2</summary>
#
# An effect needs a yardstick: compared with which other word, and over how many texts?
#
# </details>

# %% [markdown] nbgrader={"schema_version": 3, "grade_id": "06-5-explain", "points": 2, "solution": true, "grade": true, "locked": false, "task": false}
# ### BEGIN SOLUTION
# Two of: one head of 72 was picked, and none of them agrees well with what matters; after five blocks the position *animation* carries
# other words too; residual, feed-forward and value vectors may undo or outweigh what was read. (1 point)
#
# Hide or replace the word, recompute the *score*, and compare the change with that of random other words, over many texts, with an interval.
# (1 point)
# ### END SOLUTION

# %% [markdown]
# <details><summary>Compare with</summary>
#
# "One head of 72 was picked, and none of them agrees well with what matters. And after five blocks the position *animation* carries other
# words as well; the residual and the feed-forward may outweigh what was read there. I would hide *animation*, compute the film's score
# again, and compare the change with that of hiding a random other word, over many films, with an interval." One point for two reasons, one
# for the experiment with its comparison.
#
# </details>

# %% [markdown]
# ## What it costs
#
# The price of one item text, from the shapes alone. A linear map from a to b numbers costs 2ab operations a token (a product and a sum); the
# two products of the attention cost 2·2·n·384 a token, with n tokens to look at.

# %%
hidden, inner, layers = 384, 1536, 6
n = np.array([len(t) for t in reader.tokenizer(texts)["input_ids"]])  # (texts,)
linear, pairs = (
    layers * 2 * (4 * hidden**2 + 2 * hidden * inner),
    layers * 4 * hidden,
)  # per token; per token and token looked at
count = {name: sum(p.numel() for p in part.parameters()) for name, part in encoder.named_children()}
card = {
    "parameters, tables of embeddings (million)": count["embeddings"] / 1e6,
    "parameters, six blocks (million)": count["blocks"] / 1e6,
    "parameters, encoder in all (million)": sum(count.values()) / 1e6,
    "tokens of an item text, mean": n.mean(),
    "operations for one item text, mean (million)": (n * (linear + n * pairs)).mean() / 1e6,
    "of these for pairs of tokens (%)": 100 * (n * n * pairs).sum() / (n * (linear + n * pairs)).sum(),
    "of these for pairs at 512 tokens (%)": 100 * 512 * pairs / (linear + 512 * pairs),
    "tokens at which pairs cost half": linear / pairs,
}
pd.Series(card, name="cost card").round(2)

# %% [markdown]
# The famous n² is no matter here: it overtakes the linear maps only beyond two thousand tokens, which this model with its 512
# positions can never read. What costs is the linear maps, on *every* token, padding included. Half of the numbers sit in a table from which an item text reads a dozen rows. What the notebook
# itself took; only the word head has learned:

# %% tags=["nbval-ignore-output"]
bill = cost_card(nn.ParameterList(head))
assert bill["parameters that learned"] < 1e6
bill

# %% [markdown]
# ## Recap
#
# - Attention is a weighted average of values; the weights are a softmax over dot products, divided by √d to keep it responsive.
# - Masks act before the softmax; forgetting the padding mask changes results silently.
# - Heads are slices of the vector; splitting is a reshape and a swap of axes.
# - Six of our blocks, with the stored weights, equal `BertModel` within 1e-5.
# - Without position embeddings a text is a bag of words.
# - Hidden words are labels for free; this checkpoint came without its head, and started at 11 nats, worse than even guessing.
# - One head's picture is where it read, not why the model decided; no head agrees well with the measured effect.
#
# ## Quiz
#
# **1.** Why is ⟨q, k⟩ divided by √d?
#
# <details><summary>a) To make the shares add up to 1</summary>
#
# No. The softmax does that, whatever it is given.
#
# </details>
# <details><summary>b) To keep the spread of the scores near 1 for any d</summary>
#
# Yes. Otherwise one key takes nearly everything, and the softmax stops reacting.
#
# </details>
# <details><summary>c) To save operations</summary>
#
# No. It costs one more.
#
# </details>
#
# **2.** You set the shares of the padding to 0 *after* the softmax. What is wrong?
#
# <details><summary>a) The rows add up to less than 1</summary>
#
# Yes. And by how much depends on the padding, so the same text gets another vector in another batch.
#
# </details>
# <details><summary>b) Nothing, padding is ignored</summary>
#
# No. It no longer hands over values, but it has already taken its share.
#
# </details>
# <details><summary>c) The gradient becomes infinite</summary>
#
# No. It stays finite; the values are just too small.
#
# </details>
#
# **3.** From 12 heads to 6, with 384 numbers as before. How does the number of parameters of a block change?
#
# <details><summary>a) It halves</summary>
#
# No. The linear maps are 384 × 384 however they are cut.
#
# </details>
# <details><summary>b) Not at all</summary>
#
# Yes. Heads are a reshape; there are fewer of them, and each is wider.
#
# </details>
# <details><summary>c) It doubles</summary>
#
# No. Each head doubles its width, while their number halves.
#
# </details>
#
# **4.** A pretrained MiniLM starts at a masked-word loss of 11 nats. What follows?
#
# <details><summary>a) It knows nothing about language</summary>
#
# No. A small head on its frozen vectors soon beats guessing by frequency.
#
# </details>
# <details><summary>b) The tokenizer is the wrong one</summary>
#
# It could be in another case, but here the vectors agree with the library to 1e-5, and the head explains it.
#
# </details>
# <details><summary>c) Its head was not shipped, and a random one is in its place</summary>
#
# Yes. A random head can be surer of wrong tokens than an even guess, which costs 10.3.
#
# </details>
#
# **5.** One head gives a word 80 % of its attention. What do you know?
#
# <details><summary>a) The word decides the output</summary>
#
# No. Take it away and measure; no single head agreed well with what mattered.
#
# </details>
# <details><summary>b) This head reads mostly from that position</summary>
#
# Yes, and no more than that.
#
# </details>
# <details><summary>c) The word is the most important of the text</summary>
#
# Not even the average of all heads finds that one every time.
#
# </details>
#
# ## In the article
#
# The article (section 7.3) says that *Attention is All You Need* proposed the Transformer and opened the age of pretrained large models
# (开启了NLP领域的预训练大模型时代), and that BERT brought masked self-supervised pretraining. Section 1.1 adds that pretraining on unlabelled data gives
# rich semantic knowledge (丰富的语义知识), and section 8.2 that self-supervised pretraining improves performance (提升模型性能).
#
# **Verdict: holds with conditions.** The history is right, and the construction can be checked: our blocks equal BERT to 1e-5. That knowledge
# comes from unlabelled text holds in part: a small head reads hidden tokens out of frozen vectors at 5.0 nats, against 5.5 by frequency,
# and what it hits is mostly punctuation; on words alone the gain could be chance. Whether more of it helps to recommend is not shown here. And "large" (亿万级别参数, hundreds of
# millions and more) does not fit this model:
# it has 22.6 million.
#
# ## Further reading
#
# - A. Vaswani and others (2017), *Attention Is All You Need*, NeurIPS.
# - J. Devlin and others (2019), *BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding*, NAACL.
# - W. Wang and others (2020), *MiniLM: Deep Self-Attention Distillation*, NeurIPS.
# - S. Jain and B. Wallace (2019), *Attention is not Explanation*, NAACL; S. Wiegreffe and Y. Pinter (2019), *Attention is not not Explanation*, EMNLP.
# - K. Clark and others (2019), *What Does BERT Look At?*, BlackboxNLP.
#
# ## Words
#
# | English | 中文 | in one line |
# |---|---|---|
# | attention | 注意力 | an average of values, weighted by matching queries with keys |
# | query, key, value | 查询, 键, 值 | what a token looks for, offers, hands over |
# | mask | 掩码 | who may look where |
# | causal mask | 因果掩码 | only backwards |
# | head | 头 | one attention in its own slice of the vector |
# | feed-forward network | 前馈网络 | two linear maps with a bend, at each position by itself |
# | residual connection | 残差连接 | the result is added to what came in |
# | layer normalisation | 层归一化 | each vector to mean 0 and variance 1, then learned scales |
# | position embedding | 位置嵌入 | a vector that says where a token stands |
# | masked language model | 掩码语言模型 | guesses hidden words from the others |
# | self-supervision | 自监督 | the data are their own labels |
# | tied weights | 权重共享 | one table both reads words and writes them |
#
# ## Next
#
# [Lesson 7](07_fine_tuning.ipynb) trains these weights on ratings, and asks what that buys.
