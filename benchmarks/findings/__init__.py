"""Findings besides labels, planted: near duplicates, samples of other sets, overlap of training and test set."""
