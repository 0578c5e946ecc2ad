"""Predict: pure functions over float64 that import nothing else of this package."""

from signalprop.theory.activations import ACTIVATIONS, Activation, activation, leaky_relu
from signalprop.theory.adam import adam_path
from signalprop.theory.adversarial import sign_step_increase
from signalprop.theory.architecture import (
    aggregated_transformation,
    compound_cost,
    dense_connections,
    dense_gradient,
    densenet_parameters,
    residual_multiply_adds,
    resnext_branch_parameters,
)
from signalprop.theory.condition_number import (
    balanced_chain_eigenvalues,
    gaussian_log_condition,
    quadratic_edge,
    quadratic_steps,
)
from signalprop.theory.convolution import convolution_blocks, convolution_singular_values
from signalprop.theory.correlation import (
    correlation_fixed_point,
    correlation_map,
    critical_rate,
    depth_scales,
    gradient_correlation,
    gradient_depth_scale,
)
from signalprop.theory.dropout import dropout_correlation_map, dropout_depth_scales, dropout_fixed_point
from signalprop.theory.factorial import (
    design_resolution,
    factorial_columns,
    factorial_response,
    two_level_design,
)
from signalprop.theory.finite_width import (
    dead_probability,
    jacobian_entry_kurtosis,
    log_norm_asymptote,
    log_norm_law,
    mean_norm_growth,
    relative_second_moment,
)
from signalprop.theory.fixed_points import FixedPoint, critical_point, fixed_point, fixed_points, half_stable_point
from signalprop.theory.fixup import fixup_exponent, fixup_update
from signalprop.theory.fluctuations import log_gradient_correction, log_width_corrections, width_corrections
from signalprop.theory.gains import GainAudit, audit_gain, gain
from signalprop.theory.gaussian import QuadratureError, correlated_expectation, gaussian_expectation
from signalprop.theory.highway import HighwayProfile, highway_carry, highway_gate_bias, highway_profile
from signalprop.theory.least_squares import gaussian_design_curvature, least_squares_curvature
from signalprop.theory.linear_chain import linear_chain_gradients
from signalprop.theory.linear_residual import linear_residual_factors, linear_residual_gradient_bound
from signalprop.theory.mean_field import (
    chi1,
    chi_q,
    mean_activation,
    second_moment,
    slope_second_moment,
    variance_map,
)
from signalprop.theory.normalization import batch_norm_gradient_growth, batch_norm_gradient_square
from signalprop.theory.phase_diagram import PhaseDiagram, phase_diagram
from signalprop.theory.post_activation import post_activation_zeros
from signalprop.theory.power_iteration import power_iteration_norm
from signalprop.theory.random_search import best_rank, chance_of_top, expected_maximum, winners_curse
from signalprop.theory.residual import batch_norm_residual_profile, residual_profile, residual_relative_second_moment
from signalprop.theory.residual_correlation import residual_correlation, residual_gradient_correlation
from signalprop.theory.residual_jacobian import branch_strengths, branch_variance
from signalprop.theory.residual_paths import path_length_law, path_sums, plain_weight, unrolled_trunk
from signalprop.theory.resnet_sizes import identity_kernel, resnet_parameters, shortcut_second_moment, weight_layers
from signalprop.theory.scalar_chain import (
    basin,
    chain_gradient,
    crossing_step,
    descent_steps,
    descent_time,
    flat_interval,
    scalar_log_law,
    stable_step,
    steepest_interior_point,
    tied_curvature,
    tied_gradient,
)
from signalprop.theory.scale_invariance import decay_as_rate, rescaled_rate, scale_invariant_square
from signalprop.theory.slope_law import activation_slopes
from signalprop.theory.spectral_law import (
    SpectralLaw,
    bernoulli_mask,
    discrete_slopes,
    free_product,
    gaussian_weights,
    orthogonal_weights,
    residual_blocks,
)
from signalprop.theory.spectrum import (
    jacobian_cdf,
    jacobian_density,
    jacobian_edges,
    jacobian_moments,
    s_transform,
)
from signalprop.theory.standardization import (
    batch_norm_second_moment,
    naive_centring_bias,
    running_average,
    running_average_variance,
    standardization_jacobian,
    standardized,
)
from signalprop.theory.ultra_deep import linear_share, squared_gradient_sum

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "FixedPoint",
    "GainAudit",
    "HighwayProfile",
    "PhaseDiagram",
    "QuadratureError",
    "SpectralLaw",
    "activation",
    "activation_slopes",
    "adam_path",
    "aggregated_transformation",
    "audit_gain",
    "balanced_chain_eigenvalues",
    "basin",
    "batch_norm_gradient_growth",
    "batch_norm_gradient_square",
    "batch_norm_residual_profile",
    "batch_norm_second_moment",
    "bernoulli_mask",
    "best_rank",
    "branch_strengths",
    "branch_variance",
    "chain_gradient",
    "chance_of_top",
    "chi1",
    "chi_q",
    "compound_cost",
    "convolution_blocks",
    "convolution_singular_values",
    "correlated_expectation",
    "correlation_fixed_point",
    "correlation_map",
    "critical_point",
    "critical_rate",
    "crossing_step",
    "dead_probability",
    "decay_as_rate",
    "dense_connections",
    "dense_gradient",
    "densenet_parameters",
    "depth_scales",
    "descent_steps",
    "descent_time",
    "design_resolution",
    "discrete_slopes",
    "dropout_correlation_map",
    "dropout_depth_scales",
    "dropout_fixed_point",
    "expected_maximum",
    "factorial_columns",
    "factorial_response",
    "fixed_point",
    "fixed_points",
    "fixup_exponent",
    "fixup_update",
    "flat_interval",
    "free_product",
    "gain",
    "gaussian_design_curvature",
    "gaussian_expectation",
    "gaussian_log_condition",
    "gaussian_weights",
    "gradient_correlation",
    "gradient_depth_scale",
    "half_stable_point",
    "highway_carry",
    "highway_gate_bias",
    "highway_profile",
    "identity_kernel",
    "jacobian_cdf",
    "jacobian_density",
    "jacobian_edges",
    "jacobian_entry_kurtosis",
    "jacobian_moments",
    "leaky_relu",
    "least_squares_curvature",
    "linear_chain_gradients",
    "linear_residual_factors",
    "linear_residual_gradient_bound",
    "linear_share",
    "log_gradient_correction",
    "log_norm_asymptote",
    "log_norm_law",
    "log_width_corrections",
    "mean_activation",
    "mean_norm_growth",
    "naive_centring_bias",
    "orthogonal_weights",
    "path_length_law",
    "path_sums",
    "phase_diagram",
    "plain_weight",
    "post_activation_zeros",
    "power_iteration_norm",
    "quadratic_edge",
    "quadratic_steps",
    "relative_second_moment",
    "rescaled_rate",
    "residual_blocks",
    "residual_correlation",
    "residual_gradient_correlation",
    "residual_multiply_adds",
    "residual_profile",
    "residual_relative_second_moment",
    "resnet_parameters",
    "resnext_branch_parameters",
    "running_average",
    "running_average_variance",
    "s_transform",
    "scalar_log_law",
    "scale_invariant_square",
    "second_moment",
    "shortcut_second_moment",
    "sign_step_increase",
    "slope_second_moment",
    "squared_gradient_sum",
    "stable_step",
    "standardization_jacobian",
    "standardized",
    "steepest_interior_point",
    "tied_curvature",
    "tied_gradient",
    "two_level_design",
    "unrolled_trunk",
    "variance_map",
    "weight_layers",
    "width_corrections",
    "winners_curse",
]
