"""Linear probes on frozen features: a whole sweep of them trained as one problem."""

from vpt.training.probe.stack import Point
from vpt.training.probe.together import Probes, train_together
from vpt.training.probe.trials import Trial, sweep

__all__ = ["Point", "Probes", "Trial", "sweep", "train_together"]
