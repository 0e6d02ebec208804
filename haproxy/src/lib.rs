//! From Marathon apps and their labels to a running HAProxy.
//!
//! The path of a change, each step a module: [`app`] (what Marathon says, as plain values) →
//! [`labels`] (typed options) → [`compile`] (the wanted state, a [`model::LbState`]) →
//! [`render`] (text) → [`reload`] (check, write, reload, confirm). Everything before `reload` is
//! pure and total: same input, same output, and an odd app becomes an [`issue::Issue`] instead of
//! an error.
//!
//! Knows no Marathon JSON, no VRRP and no metrics library.

pub mod app;
pub mod bundle;
pub mod check;
pub mod child;
pub mod disk;
pub mod features;
pub mod issue;
pub mod labels;
pub mod master;
pub mod preflight;
pub mod reload;
pub mod text;
