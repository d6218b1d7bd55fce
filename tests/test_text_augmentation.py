import numpy as np
import pytest

from course_lib.text import TextEncoder, replace_synonyms, synonyms

TEXT = "Toy Story (1995). Animation, Children's, Comedy"


@pytest.fixture(scope="module")
def encoder():
    """The bundled encoder."""
    return TextEncoder()


def replace(text, encoder, *, seed=0, **options):
    return replace_synonyms(text, encoder=encoder, rng=np.random.default_rng(seed), **options)


def test_neighbours_are_the_nearest_vectors(encoder):
    found = synonyms("Comedy", encoder=encoder, k=4)
    ids = encoder.tokenizer.convert_tokens_to_ids(["comedy", *found])
    table = encoder.model.get_input_embeddings().weight.detach().numpy()
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    cosines = unit @ unit[ids[0]]
    assert "comedy" not in found and len(found) == 4
    assert list(cosines[ids[1:]]) == sorted(cosines[ids[1:]], reverse=True)
    words = [(c, w) for c, w in zip(cosines, encoder.tokenizer.convert_ids_to_tokens(range(len(cosines))), strict=True)]
    nearer = [w for c, w in words if c > cosines[ids[-1]] + 1e-6 and len(w) > 2 and w.isascii() and w.isalpha()]
    assert set(nearer) == {"comedy", *found[:-1]}, "no other whole word is nearer"


def test_a_word_of_several_pieces_has_no_neighbours(encoder):
    assert synonyms("goldeneye", encoder=encoder) == []
    assert synonyms("", encoder=encoder) == []
    with pytest.raises(ValueError, match="k is the number"):
        synonyms("comedy", encoder=encoder, k=0)


def test_a_caller_cannot_spoil_the_neighbours(encoder):
    synonyms("comedy", encoder=encoder).clear()
    assert len(synonyms("comedy", encoder=encoder)) == 5


def test_replacement_follows_its_generator(encoder):
    drawn = [replace(TEXT, encoder, seed=seed, share=0.5) for seed in (3, 3, *range(10))]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) >= 3


def test_share(encoder):
    assert replace(TEXT, encoder, share=0.0) == TEXT
    replaced = replace(TEXT, encoder, share=1.0)
    genres = replaced.removeprefix("Toy Story (1995). ").split(", ")
    assert genres[0].lower() in synonyms("animation", encoder=encoder) and genres[0][0].isupper()
    assert genres[1] == "Children's", "a word of several pieces stays"
    assert genres[2].lower() in synonyms("comedy", encoder=encoder)
    with pytest.raises(ValueError, match="share"):
        replace(TEXT, encoder, share=1.5)


def test_share_is_a_probability(encoder):
    rng = np.random.default_rng(0)
    changed = [replace_synonyms("drama", encoder=encoder, rng=rng, share=0.3) != "drama" for _ in range(400)]
    assert 0.22 < np.mean(changed) < 0.38


@pytest.mark.parametrize(
    "text",
    [
        "The Comedy of Terror (1964)",
        "the quiet war comedy (1990)",
        "Harry met Sally and Mr. Brown",
        "War and Peace of the Lamb (1956)",
    ],
)
def test_names_stay(encoder, text):
    replaced = [replace(text, encoder, seed=seed, share=1.0) for seed in range(5)]
    capitals = [word for word in text.split() if word[0].isupper() and word not in ("War",)]
    assert all(all(word in variant.split() for word in capitals) for variant in replaced)
    if "(" in text:
        assert set(replaced) == {text}, "a title stays as it is, genre words and small letters included"


def test_a_title_without_a_year(encoder):
    text = "the quiet war. a film about money"
    assert replace(text, encoder, share=1.0, title="the quiet war").startswith("the quiet war. a film about ")
    assert not replace(text, encoder, share=1.0).startswith("the quiet war."), "without the title nobody can know"
    assert not replace(text, encoder, share=1.0, title="the quiet war").endswith("money")


def test_small_words_stay(encoder):
    assert replace("a film of the and with", encoder, share=1.0) == "a film of the and with"
    assert replace("", encoder, share=1.0) == ""
