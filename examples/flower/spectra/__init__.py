"""A fit over a real federation: `model.py` is the same at all sites, `data.py` is each site's own."""
