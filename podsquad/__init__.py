"""podsquad retrains a question-answering model every night and publishes it only when it is not worse."""

__version__ = "0.1.0"
