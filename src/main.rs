//! The `xks-preflight` binary: hands its arguments to [`xks_preflight::cli`].

fn main() {}
