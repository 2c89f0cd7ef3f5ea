"""podsquad retrains an extractive question-answering model as one flow of cached, resumable stages."""

__version__ = "0.1.0"
