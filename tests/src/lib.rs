//! What the end-to-end tests, the demo and the benchmarks share: the Marathon simulator and the lab.

pub mod bench;
pub mod demo;
pub mod lab;
pub mod sim;
