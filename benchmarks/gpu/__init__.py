"""The parts of ``benchmarks.gpu_squad``; they need torch, transformers, pyarrow, numpy and podsquad's runtime rooms."""
