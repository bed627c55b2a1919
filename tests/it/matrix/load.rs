//! Proxies that are well until they are asked for more.

use super::row::Expected::Permitted;
use super::row::*;

const LOAD: &[&str] = &["--capacity", "50", "--capacity-seconds", "1"];

pub(super) const ROWS: &[Row] = &[
    proxy("slow-answer:ms=400,after=4", warned("capacity.sustained", "slow")).with(LOAD),
    proxy("throttling-exception:after=20", warned("capacity.sustained", "throttled")).with(LOAD),
    proxy("internal-exception:after=20", warned("capacity.sustained", "proxy_error")).with(LOAD),
    proxy("reset-without-answer:after=20", warned("capacity.sustained", "reset")).with(LOAD),
    proxy("stall-after-request:after=20", warned("capacity.sustained", "timed_out")).with(LOAD),
    proxy("connection-close-after-each", Permitted).with(LOAD),
];
