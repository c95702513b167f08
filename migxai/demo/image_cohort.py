"""Write the demo cohort as BIDS, and beside it the truth that it was made from."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from migxai import __version__
from migxai.data import packaged
from migxai.demo.bold import THERMAL, acquire, make_activity, make_motion, still_head
from migxai.demo.head import (
    EFFECT_REGIONS,
    NETWORKS,
    FloatArray,
    apply,
    head,
    make_anatomy,
    region_maps,
    render_t1w,
    rigid,
)
from migxai.demo.settings import DemoSettings, MapSettings
from migxai.errors import InputError, OutputError
from migxai.io import atomic, deterministic_gzip, read_json, write_json, write_text

#: Two healthy controls to one patient of each kind: near the proportions of clinical cohorts, at any size.
GROUPS = ("HC", "MWoA", "MWA", "HC")
#: How much of the planted effect each group has.
EFFECT_SHARE = {"HC": 0.0, "MWoA": 1.0, "MWA": 1.5}
#: This subject, where there is one, moves too much: its run is to be excluded.
EXCESSIVE = 4
LANDMARKS = 2000


@dataclass(frozen=True)
class Participant:
    """One row of participants.tsv."""

    participant_id: str
    group: str
    age: int
    sex: str
    education: int
    HAMD24: int
    HAMA14: int
    site: str


def make_participant(number: int, seed: int) -> Participant:
    """Draw participant `number` (from 1); apart from the group, nothing depends on the group."""
    rng = np.random.default_rng([seed, number, 0])
    return Participant(
        participant_id=f"sub-{number:02d}",
        group=GROUPS[(number - 1) % len(GROUPS)],
        age=int(np.clip(rng.normal(36, 9), 18, 60)),
        sex="F" if rng.random() < 0.7 else "M",
        education=int(rng.integers(9, 20)),
        HAMD24=int(rng.poisson(4)),
        HAMA14=int(rng.poisson(4)),
        site="B" if (number - 1) // len(GROUPS) % 2 else "A",
    )


def make_cohort(root: Path, settings: DemoSettings, subjects: int) -> Iterator[str]:
    """Make the data under ``root/raw`` and the truth under ``root/truth``, or go on where an earlier call stopped.

    Yields each subject's label once it is complete. OutputError if `root` is anything but absent, empty or a cohort of
    the same settings with as many subjects or fewer, or if it cannot be written.
    """
    claim(root, settings, subjects)
    participants = [make_participant(number, settings.seed) for number in range(1, subjects + 1)]
    _write_dataset(root, settings, participants)
    for number, participant in enumerate(participants, start=1):
        # The truth's own summary is written last: where it stands, the subject is complete.
        if not (root / "truth" / participant.participant_id / "truth.json").exists():
            _write_subject(root, settings, participant, number)
        yield participant.participant_id


def claim(root: Path, settings: DemoSettings | MapSettings, subjects: int) -> None:
    """Note in `root` what it is to hold; OutputError where it holds something else, as `make_cohort` says."""
    note = root / "truth" / "demo.json"
    content = json.loads(json.dumps(dataclasses.asdict(settings)))
    try:
        if note.is_file():
            found = read_json(note)
            different = [key for key in content if found.get("recipe", {}).get(key) != content[key]]
            if different:
                raise OutputError(
                    f"{root} holds a demo made with another {', '.join(different)}; choose another directory."
                )
            if found["subjects"] > subjects:
                raise OutputError(
                    f"{root} holds a demo of {found['subjects']} subjects, more than the {subjects} asked for; choose "
                    "another directory."
                )
        elif root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise OutputError(f"{root} exists and is not a demo; choose a new or empty directory.")
        write_json(note, {"recipe": content, "subjects": subjects})
    except (OSError, InputError, KeyError, AttributeError) as error:
        raise OutputError(f"{root} cannot be used for the demo: {error}.") from error


def demo_text(name: str) -> str:
    """Read one of the texts that the demo's datasets say of themselves."""
    return packaged("demo", name).read_text(encoding="utf-8")


def _write_dataset(root: Path, settings: DemoSettings, participants: list[Participant]) -> None:
    description = {
        "Name": "migxai demo",
        "BIDSVersion": "1.10.0",
        "DatasetType": "raw",
        "License": "CC0",
        "Authors": ["The migxai developers", "migxai-demo"],
        "GeneratedBy": [{"Name": "migxai-demo", "Version": __version__}],
    }
    write_json(root / "raw" / "dataset_description.json", description)
    write_text(
        root / "raw" / "README", demo_text("images_README.txt").format(effect=settings.effect_size, seed=settings.seed)
    )
    columns = [field.name for field in dataclasses.fields(Participant)]
    rows = ["\t".join(columns)] + ["\t".join(str(getattr(p, c)) for c in columns) for p in participants]
    write_text(root / "raw" / "participants.tsv", "\n".join(rows) + "\n")
    write_text(root / "raw" / "participants.json", demo_text("images_participants.json"))
    write_text(root / "truth" / "README.md", demo_text("images_truth_README.md"))
    effect = {
        "Regions": list(EFFECT_REGIONS),
        "EffectSize": settings.effect_size,
        "ShareOfEffect": EFFECT_SHARE,
        "Meaning": "The amplitude of resting networks is multiplied by 1 + EffectSize * ShareOfEffect[group] * own * "
        "map, where own varies between subjects (log-normal, SD 0.1).",
        "Networks": {name: list(parts) for name, parts in NETWORKS.items()},
    }
    write_json(root / "truth" / "effect.json", effect)
    _write_image(root / "truth" / "effect_space-MNI152NLin2009cAsym.nii.gz", region_maps()[1], head().affine)


def _write_subject(root: Path, settings: DemoSettings, participant: Participant, number: int) -> None:
    # Anatomy, activity, motion and noise have generators of their own: switching one off leaves the others alone.
    shape, life, path, film = (np.random.default_rng([settings.seed, number, stage]) for stage in range(1, 5))
    label = participant.participant_id
    anatomy = make_anatomy(shape)
    t1w, mask, t1w_affine = render_t1w(anatomy, settings.t1w_voxel, film, noise=0.035 if settings.noise else 0.0)
    raw, truth = root / "raw" / label, root / "truth" / label
    _write_image(raw / "anat" / f"{label}_T1w.nii.gz", np.rint(t1w).astype(np.int16), t1w_affine)
    write_json(raw / "anat" / f"{label}_T1w.json", {"MagneticFieldStrength": 3, "Manufacturer": "simulated"})
    _write_image(truth / "brain_mask.nii.gz", mask, t1w_affine)

    to_t1w = rigid(path.uniform(-3, 3, 3), path.uniform(-4, 4, 3))
    centre = apply(np.linalg.inv(to_t1w), anatomy.from_mni(np.array([[0.0], [-20.0], [10.0]])))[:, 0]
    motion, parameters = make_motion(settings, centre, path, excessive=number == EXCESSIVE)
    gain = settings.effect_size * EFFECT_SHARE[participant.group] * float(np.exp(0.1 * life.standard_normal()))
    activity = make_activity(anatomy, to_t1w, settings, gain, life) if settings.noise else None
    thermal = THERMAL * (1.25 if participant.site == "B" else 1.0) if settings.noise else 0.0
    still = still_head(anatomy, to_t1w, settings, film)
    series = acquire(still, activity, motion, settings, film, thermal=thermal)
    name = raw / "func" / f"{label}_task-rest_bold"
    np.rint(series, out=series)
    _write_image(
        name.with_suffix(".nii.gz"), series.astype(np.int16), settings.bold_affine(), step=settings.repetition_time
    )
    sidecar = {
        "TaskName": "rest",
        "RepetitionTime": settings.repetition_time,
        "EchoTime": 0.03,
        "FlipAngle": 70,
        "SliceTiming": settings.slice_times().tolist(),
        "SliceEncodingDirection": "k",
        "MagneticFieldStrength": 3,
        "Manufacturer": "simulated",
        "Instructions": "Rest with your eyes closed.",
    }
    write_json(name.with_suffix(".json"), sidecar)

    _write_array(truth / "motion.npy", motion)
    _write_array(truth / "motion_parameters.npy", parameters)
    _write_landmarks(truth, anatomy.from_mni, to_t1w)
    _write_displacement(truth / "t1w_to_mni.nii.gz", anatomy.to_mni)
    summary = {
        "BoldToT1w": to_t1w.tolist(),
        "CentreOfRotation": centre.tolist(),
        "Group": participant.group,
        "NetworkGainInEffectRegions": gain,
        "MotionExcessive": number == EXCESSIVE,
        "ThermalNoisePercent": thermal,
    }
    write_json(truth / "truth.json", summary)


def _write_landmarks(truth: Path, from_mni: Any, to_t1w: FloatArray) -> None:
    model = head()
    voxels = np.argwhere(model.brain > 0)
    chosen = np.random.default_rng(0).choice(len(voxels), LANDMARKS, replace=False)
    mni = apply(model.affine, voxels[np.sort(chosen)].T)
    t1w = from_mni(mni)
    bold = apply(np.linalg.inv(to_t1w), t1w)
    for name, points in (("mni", mni), ("t1w", t1w), ("bold", bold)):
        _write_array(truth / f"landmarks_{name}.npy", np.ascontiguousarray(points.T))


def _write_displacement(path: Path, to_mni: Any) -> None:
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = [-96.0, -132.0, -134.0]
    shape = (49, 61, 61)
    world = apply(affine, np.indices(shape).reshape(3, -1))
    field = (to_mni(world) - world).T.reshape(*shape, 3)
    _write_image(path, field.astype(np.float32), affine)


def _write_image(path: Path, data: FloatArray | np.ndarray[Any, Any], affine: FloatArray, step: float = 0.0) -> None:
    import nibabel as nib

    image: Any = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    if step:
        image.header["pixdim"][4] = step
    with atomic(path) as stream, deterministic_gzip(stream, level=1) as packed:
        image.to_stream(packed)


def _write_array(path: Path, array: FloatArray) -> None:
    with atomic(path) as stream:
        np.save(stream, array)
