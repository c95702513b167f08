"""What the demo dataset says about itself."""

from __future__ import annotations

from typing import Any

DATASET_README = """\
migxai demo: a made-up cohort
=============================

No person was scanned for these images. They were computed by migxai-demo from a brain template (ICBM 152 2009c) and an
atlas (AAL), with the seed {seed}.

THE GROUP EFFECT IS PLANTED: in the cuneus and the precuneus, resting networks are stronger by {effect:.0%} in migraine
without aura (MWoA) and by 1.5 times as much in migraine with aura (MWA) than in healthy controls (HC). Finding it shows
that the software works. It says nothing about migraine.

What is in the images
- Anatomy: each head is another smooth deformation of the template, inside a made-up skull, scalp, face and neck.
- T1w: bias field, Rician noise.
- BOLD: interleaved slices, each sampled at its own time; the first volumes are not steady; known head motion (up to
  1.5 mm and 1.5 degrees; sub-04, where there is one, passes 2 mm and 2 degrees and is to be excluded); resting networks
  and local fluctuations in grey matter; heartbeat and breathing; drift; signal loss above the sinuses; Rician noise,
  1.25 times as strong at site B.
- Age, sex, education and the two Hamilton scales are drawn alike in all groups, and so is the site.

What is left out: geometric (field map) distortion, motion within a volume, spin history, and differences in folding
that a smooth deformation cannot make.

The truth behind the data (motion, deformation, effect) lies beside this dataset in the folder "truth".
"""

TRUTH_README = """\
# What the demo was made from

World coordinates are RAS mm of the image named. T is the number of volumes acquired.

- `demo.json`: the settings; `migxai-demo` reads them to go on where it stopped.
- `effect.json`, `effect_space-*.nii.gz`: where the planted effect is, how strong in each group, and the networks.
- `sub-*/motion.npy`, (T, 4, 4): takes coordinates in the first acquired volume to coordinates in each volume; for
  another reference k: `motion @ inv(motion[k])`.
- `sub-*/motion_parameters.npy`, (T, 6): the same as translations (mm) and rotations (degrees) about x, y and z through
  `CentreOfRotation` of `truth.json`.
- `sub-*/t1w_to_mni.nii.gz`, (X, Y, Z, 3): displacement in RAS mm over the T1w image's world; MNI =
  world + displacement.
- `sub-*/landmarks_{mni,t1w,bold}.npy`, (2000, 3): the same points of the brain in MNI, in the T1w image, and in the
  first acquired BOLD volume.
- `sub-*/brain_mask.nii.gz`: the brain on the T1w image's grid.
- `sub-*/truth.json`: BOLD (first acquired volume) to T1w, the subject's own effect, noise, whether motion is excessive.
"""

PARTICIPANTS_JSON: dict[str, Any] = {
    "group": {
        "Description": "Diagnosis (made up)",
        "Levels": {"HC": "healthy control", "MWoA": "migraine without aura", "MWA": "migraine with aura"},
    },
    "age": {"Description": "Age", "Units": "year"},
    "sex": {"Description": "Sex", "Levels": {"F": "female", "M": "male"}},
    "education": {"Description": "Years of education", "Units": "year"},
    "HAMD24": {"Description": "Hamilton Depression Rating Scale, 24 items, total"},
    "HAMA14": {"Description": "Hamilton Anxiety Rating Scale, 14 items, total"},
    "site": {"Description": "Scanner", "Levels": {"A": "site A", "B": "site B, with 1.25 times the noise"}},
}

MAPS_README = """\
migxai demo: made-up indicator maps
===================================

No person was scanned, and no image was processed, for these maps. They were computed by migxai-demo from a brain
template (ICBM 152 2009c) and an atlas (AAL), with the seed {seed}.

THE GROUP EFFECT IS PLANTED: in migraine without aura (MWoA) maps are higher than in healthy controls (HC) by
{effect:g} standard deviations of a voxel between subjects, and in migraine with aura (MWA) by 1.5 times as much, in
these AAL regions: {regions}.{shuffled}
Finding the effect shows that the software works. It says nothing about migraine.

What is in the maps
- alff, reho: the contrast of grey matter, white matter and fluid; differences between subjects that are smooth over
  gyri (9 mm) and lobes (30 mm) and are half the same in ALFF and ReHo; noise (4 mm); divided by the map's mean.
- rfcs: a value for each AAL region, painted on it; subjects differ in level and from region to region, and a region
  and its counterpart in the other hemisphere have half of that in common.
- Some subjects' fields of view miss a part of the cerebellum or of the top of the brain.
- Age, sex, education, the two Hamilton scales and head motion are drawn alike in all groups, and so is the site.

What is left out: anatomy (all brains have the shape of the template), registration errors, and any effect of motion.

The truth behind the maps lies beside this dataset in the folder "truth".
"""

MAPS_TRUTH_README = """\
# What the maps were made from

- `demo.json`: the settings; `migxai-demo` reads them to go on where it stopped.
- `maps_effect.json`: the regions of the planted effect, how strong it is in each group, and who has it.
- `maps_effect.nii.gz`: where it is, 0 to 1.
- `maps_effect_stat-*.nii.gz`: what is added to a map of MWoA, in the map's own units.
"""

MAPS_PARTICIPANTS_JSON: dict[str, Any] = {
    **{name: text for name, text in PARTICIPANTS_JSON.items() if name != "site"},
    "site": {"Description": "Scanner (made up)"},
    "mean_fd": {"Description": "Mean framewise displacement (made up; the maps do not depend on it)", "Units": "mm"},
}
