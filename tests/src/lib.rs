//! What the end-to-end tests and the demo share: the Marathon simulator and the lab.

pub mod demo;
pub mod lab;
pub mod sim;
