//! What app owners ask for: `HAPROXY_*` labels to typed options.
//!
//! `parse` is called by `compile` for every app. One bad label costs that label only and becomes
//! an [`Issue`]; the labels whose loss would open something up fail closed instead.

pub mod options;
