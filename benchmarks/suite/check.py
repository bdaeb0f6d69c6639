"""What would spoil every trial of a plan, found before the first."""

from __future__ import annotations

from benchmarks.suite.models import attached
from benchmarks.suite.plan import Plan
from vpt.errors import OptionError, VptError
from vpt.runs.prepare import prepare_backbone, prepare_preprocessing
from vpt.training.devices import accelerator_for


def check(plan: Plan) -> None:
    """Load the backbone and attach every variant to it once.

    Raises what loading raises (unknown name, missing weights, those of another model), `OptionError` for a precision
    that this machine does not have, or one that lists each variant that this backbone does not take.
    """
    accelerator_for(plan.settings.precision)
    backbone = prepare_backbone(plan.settings.backbone)
    prepare_preprocessing(backbone, plan.settings.preprocessing)
    settings, faults = plan.settings, []
    kinds = {(trial.variant, repr(trial.options)): trial for trial in plan.trials}
    for trial in kinds.values():
        try:
            attached(backbone, settings, trial, classes=2).detach()
        except VptError as error:
            faults.append(f"{trial.variant}: {error}")
    if faults:
        raise OptionError("methods:\n" + "\n".join(f"  {fault}" for fault in dict.fromkeys(faults)))
