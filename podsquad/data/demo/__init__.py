"""A small world that does not exist, told as a SQuAD data set: names, relations, and the teller."""
