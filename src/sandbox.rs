//! Simulated peers on loopback: real protocol, real TLS, real signatures, faults on command.
//!
//! Nothing in here knows how the product works: the peers implement AWS's documents anew, with their own wire shapes
//! and their own signature check, so that a mistake in the product is not repeated by the peer it is tested against.
//!
//! - [`cloudhsm`]: the clusters behind CloudHSM key stores, and DescribeClusters.
//! - [`dns`]: a name server that answers as it is told.
//! - [`kms`]: KMS's side of custom key stores.
//! - [`ec2`] and [`elbv2`]: VPC endpoint services and the load balancers behind them, over [`query`], AWS's older protocol.
//! - [`iam`]: what identities may do, over [`query`], too.
//! - [`pki`]: a root and an intermediate made at start, and server certificates right and wrong.
//! - [`proxy`]: an external key store proxy with AES-256-GCM keys and a history of the requests it saw.
//! - [`scenario`]: the story of the `sandbox` command: one key store, its proxy, candidates good and bad.
//! - [`sts`]: roles of other accounts, over [`query`], and the sessions that they give.
//! - [`fault`]: the one list of what a proxy can be told to do wrong.

pub mod cloudhsm;
pub mod dns;
pub mod ec2;
pub mod elbv2;
pub mod fault;
pub mod iam;
pub mod kms;
pub mod pki;
pub mod proxy;
pub mod query;
pub mod scenario;
pub mod sts;
