//! From Marathon apps and their labels to a running HAProxy.
//!
//! The path of a change, each step a module: [`app`] (what Marathon says, as plain values) →
//! [`labels`] (typed options) → [`compile`] (the wanted state, a [`model::LbState`]) →
//! [`render`] (text) → [`bundle`] (sealed with its digest) → [`reload`] (check, pre-flight, write,
//! reload, confirm). Where what runs and what is wanted [`diff`] in nothing but servers, map entries and certificates,
//! [`runtime`] changes the running process instead. Everything up to `bundle`, and `diff`, is pure and total: same input, same output, and an
//! odd app becomes an [`issue::Issue`] instead of an error.
//!
//! Knows no Marathon JSON, no VRRP and no metrics library; logs nothing.

pub mod app;
pub mod bundle;
pub mod certs;
pub mod check;
pub mod child;
pub mod compile;
pub mod diff;
pub mod disk;
pub mod features;
pub mod issue;
pub mod labels;
pub mod liveness;
pub mod master;
pub mod model;
pub mod names;
pub mod pairs;
pub mod preflight;
pub mod reload;
pub mod render;
pub mod runtime;
pub mod text;
