"""Predictors: a backbone with a head, fitted on labels, kept in a folder and used on images."""
