"""One file per score: `score(learner_loss, reference_loss) -> Tensor`."""
