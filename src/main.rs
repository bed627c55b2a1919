//! The `xks-preflight` binary: arguments to [`xks_preflight::cli`], its answer to an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    xks_preflight::cli::main()
}
