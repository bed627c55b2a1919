//! Updates from request to ending, through the AWS SDK against the simulated KMS, with faults, races and restarts.

pub(crate) mod bench;
mod crash;
mod faults;
mod fencing;
mod freezes;
mod life;
mod storage;
