"""Linear probes on frozen features: a whole sweep of them trained as one problem."""

from vpt.training.probe.stack import Point, Start
from vpt.training.probe.together import Probes, train_together
from vpt.training.probe.trials import Trial, start_of, sweep

__all__ = ["Point", "Probes", "Start", "Trial", "start_of", "sweep", "train_together"]
