//! Shapes of latency against KMS's 250 ms and its one retry.

use super::row::Expected::Permitted;
use super::row::*;

pub(super) const ROWS: &[Row] = &[
    proxy("slow-answer:ms=120", Permitted),
    proxy("slow-answer:ms=225", warned("latency.tail", "slow")),
    proxy("slow-answer:ms=400", blocked("http.answers", "timed_out", TIMED_OUT)),
    proxy("slow-answer:ms=5000", blocked("http.answers", "timed_out", TIMED_OUT)),
    // The first answer is late, KMS's one retry saves it.
    proxy("slow-answer:ms=400,first=1", warned("latency.tail", "slow")),
    // The first is late and its retry as well.
    proxy("slow-answer:ms=400,first=2", blocked("http.answers", "timed_out", TIMED_OUT)),
    // First fast, then slow: one sample alone would pass.
    proxy("slow-answer:ms=400,after=1", blocked("latency.within_limit", "timed_out", TIMED_OUT)),
    proxy("slow-answer:ms=400,after=4", blocked("http.answers", "timed_out", TIMED_OUT)).with(&["--samples", "5"]),
    // A tail: every fourth answer.
    // Late only where the connection is kept: the third request, after two on fresh ones.
    proxy("slow-answer:ms=400,every=3", warned("latency.tail", "slow")).with(&["--samples", "2"]),
    proxy("slow-answer:ms=400,every=4", warned("latency.tail", "slow")).with(&["--samples", "5"]),
    proxy("drip-answer:ms=10", blocked("http.answers", "timed_out", TIMED_OUT)),
    proxy("drip-answer:ms=10,after=1", blocked("http.answers", "timed_out", TIMED_OUT)),
    proxy("drip-answer:first=1", warned("latency.tail", "slow")),
    proxy("stall-after-request:first=1", warned("latency.tail", "slow")),
    proxy("stall-after-request:after=1", blocked("http.answers", "timed_out", TIMED_OUT)),
    proxy("tls-stall:first=1", warned("latency.tail", "slow")),
    proxy("tls-stall:after=1", blocked("tls.handshake", "timed_out", INVALID_TLS)),
];
