"""What the SpineClassifier is made of: networks, data, training, evaluation; import from the files."""
