"""Parts of ``benchmarks/ablations.py``: its windows, variants of the network, rows and scores."""
