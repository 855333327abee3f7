"""A fit over a real federation: all of this folder goes to all sites, from whoever starts the run."""
