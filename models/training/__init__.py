"""From labelled examples to weights: arrays and paths in, weights and figures out. Needs scikit-learn."""
