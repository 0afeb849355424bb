//! What `tests/chaos.rs` is made of: a plan, the processes and the disk that it is carried out on, and the judgement.

pub mod agency;
pub mod disk;
pub mod faults;
pub mod judge;
pub mod lottery;
pub mod plan;
pub mod processes;
pub mod rows;
pub mod run;
pub mod tally;
