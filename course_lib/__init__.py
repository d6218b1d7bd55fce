"""Library under the lessons on large models in recommender systems."""
