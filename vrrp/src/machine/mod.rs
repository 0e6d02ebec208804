//! The state machine of one virtual router: what happens and what time it is go in, what to do
//! comes out.

pub mod io;
