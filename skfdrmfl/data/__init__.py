"""Rows, clients, modalities, categories and transforms: what a client holds and what is applied to it."""
