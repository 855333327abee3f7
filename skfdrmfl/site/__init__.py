"""Fits whose rows are elsewhere, both ends; and a site as a process that alone holds rows and answers on a socket."""
