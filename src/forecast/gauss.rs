//! The normal distribution, as the charts and trends use it (from `statrs`).

use statrs::function::erf;
use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

/// Probability that a standard normal value lies above `z`.
pub fn above(z: f64) -> f64 {
    // Beyond these the answer is 0 or 1 to nine digits, and the series need not be summed.
    if z > 6.0 {
        0.0
    } else if z < -6.0 {
        1.0
    } else {
        0.5 * erf::erfc(z * FRAC_1_SQRT_2)
    }
}

/// The standard normal quantile of `p`, cut to (1e-12, 1 - 1e-12) so that it is finite.
pub fn quantile(p: f64) -> f64 {
    -SQRT_2 * erf::erfc_inv(2.0 * p.clamp(1e-12, 1.0 - 1e-12))
}
