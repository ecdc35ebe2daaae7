"""Tuning with Optuna: of pretraining, and of the classifier on cached representations."""
