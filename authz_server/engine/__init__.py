"""The engine: from a request to an answer, with what is remembered, waited for and observed on the way."""
