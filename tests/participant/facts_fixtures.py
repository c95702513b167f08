"""Facts of an invented run."""

from __future__ import annotations

from migxai.participant.facts import (
    AcquisitionFacts,
    DenoisingFacts,
    GridFacts,
    IndicatorFacts,
    MotionFacts,
    RegistrationFacts,
    RunFacts,
)


def run_facts(*, volumes=10, file="bids:raw:a", alff=1.0, excluded=None, coverage=1.0, source="raw") -> RunFacts:
    timing = (False, "No slice times.") if source == "raw" else (None, None)
    return RunFacts(
        AcquisitionFacts(source, (file,), 2.0, volumes, 2, ("It is odd.",), *timing),
        RegistrationFacts("one"),
        GridFacts("MNI152NLin2009cAsym", 3.0, coverage),
        MotionFacts(excluded, 0.1, 0.2, 0.05, 0.04),
        DenoisingFacts(("trans_x", "csf"), 20, 2, 12, 1, None),
        IndicatorFacts({"alff": alff}, "AAL", "Somebody 2002", 116),
    )
