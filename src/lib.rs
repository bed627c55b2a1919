//! Makes changes to AWS KMS external key stores (XKS) safe.
//!
//! A proxy is **probed** in **stages**, each stage leaves **evidence**, **checks** judge the evidence into
//! **findings**, findings make a **report** with a **verdict**; a key store is changed by an **update**: a **plan**
//! that is **pre-flighted**, **approved**, carried out in **steps**, every step **journalled** before and after, and
//! **rolled back** if verification fails.
//!
//! # The floors
//!
//! A file may use its own room and the floors below it; `tests/it/floors.rs` enforces it.
//!
//! ```text
//! floor 6  cli app config telemetry                 composition: the only floor that knows everything
//! floor 5  page -> api kms_endpoint metrics render runbooks   faces: translate in and out, decide nothing
//! floor 4  drift -> monitor driver; custodian preflight enumeration notary   engines: schedules, orchestration, shutdown
//! floor 3  probe listener aws/* journal/* places     adapters: sockets, AWS clients, SQL, other servers, which of
//!          program keyring, trace, peer <- oidc perspective  several accounts is asked, and where secrets are
//! floor 2  kms vpc cloudhsm journal                 ports: traits in our own words
//! floor 1  xks <- check <- update <- audit, access  judgement: pure functions, no tokio, no I/O, no clock
//! floor 0  key_store clock id chain current         vocabulary: newtypes, parse-only
//! beside   sandbox                                  simulated peers on loopback (feature `sandbox`)
//! ```

// floor 0
pub mod chain;
pub mod clock;
pub mod current;
pub mod id;
pub mod key_store;
// floor 1
pub mod access;
pub mod audit;
pub mod check;
pub mod update;
pub mod xks;
// floor 2
pub mod cloudhsm;
pub mod journal;
pub mod kms;
pub mod vpc;
// floor 3
pub mod aws;
pub mod keyring;
pub mod listener;
pub mod oidc;
pub mod peer;
pub mod perspective;
pub mod places;
pub mod probe;
pub mod program;
pub mod trace;
// floor 4
pub mod custodian;
pub mod drift;
pub mod driver;
pub mod enumeration;
pub mod monitor;
pub mod notary;
pub mod preflight;
// floor 5
pub mod api;
pub mod kms_endpoint;
pub mod metrics;
pub mod page;
pub mod render;
pub mod runbooks;
// floor 6
pub mod app;
pub mod cli;
pub mod config;
pub mod telemetry;
// beside
#[cfg(feature = "sandbox")]
pub mod sandbox;
