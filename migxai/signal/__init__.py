"""Numbers from voxel series: pure functions on arrays, no files, no names, no configuration.

Voxel series are matrices (V, T), rows in C order of a mask, so that no step needs a second 4-D copy; `alff`, `falff`
and `reho` also take images (X, Y, Z, T) with a mask. Single precision stays single. Results are the same bits for any
number of threads. numba and scipy are loaded when first needed.

Indicators
    `alff`, `falff`, `reho`, `rfcs`, `correlation_matrix`, their forms on voxel series `alff_voxels`, `falff_voxels`,
    `reho_voxels`, and their normalisation `mean_normalised`, `z_scored`.
Regions
    `region_means`, `region_values`, `region_coverage`, `paint`.
Preparation
    `count_non_steady_volumes`, `check_slice_timing`, `correct_slice_timing`, `slice_axis`.
Motion
    `motion_parameters`, `motion_matrices`, `power_displacement`, `jenkinson_displacement`, `dvars`, `judge_motion`,
    `motion_expansion`.
Denoising
    `nuisance_model`, `regress`, `bandpass`, `band_dimensions`, `check_freedom`, `smooth`,
    `kept_volumes`, `require_unbroken`.
"""

from migxai.signal.amplitude import alff, alff_voxels, falff, falff_voxels
from migxai.signal.denoising import (
    NuisanceModel,
    band_dimensions,
    bandpass,
    check_freedom,
    motion_expansion,
    nuisance_model,
    regress,
)
from migxai.signal.maps import (
    correlation_matrix,
    mean_normalised,
    paint,
    region_coverage,
    region_means,
    region_values,
    rfcs,
    smooth,
    z_scored,
)
from migxai.signal.motion import (
    MotionVerdict,
    dvars,
    jenkinson_displacement,
    judge_motion,
    motion_matrices,
    motion_parameters,
    power_displacement,
)
from migxai.signal.regional_homogeneity import reho, reho_voxels
from migxai.signal.timing import (
    check_slice_timing,
    correct_slice_timing,
    count_non_steady_volumes,
    kept_volumes,
    require_unbroken,
    slice_axis,
)

__all__ = [
    "MotionVerdict",
    "NuisanceModel",
    "alff",
    "alff_voxels",
    "band_dimensions",
    "bandpass",
    "check_freedom",
    "check_slice_timing",
    "correct_slice_timing",
    "correlation_matrix",
    "count_non_steady_volumes",
    "dvars",
    "falff",
    "falff_voxels",
    "jenkinson_displacement",
    "judge_motion",
    "kept_volumes",
    "mean_normalised",
    "motion_expansion",
    "motion_matrices",
    "motion_parameters",
    "nuisance_model",
    "paint",
    "power_displacement",
    "region_coverage",
    "region_means",
    "region_values",
    "regress",
    "reho",
    "reho_voxels",
    "require_unbroken",
    "rfcs",
    "slice_axis",
    "smooth",
    "z_scored",
]
