//! The integration tests: one binary, a room per subject.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]
/// The HTTP API over real sockets, with everything real behind it.
mod api;
/// The audit trail and signed evidence: what is told, and every tampering found.
mod audit;

/// Settings that are planned: watched from now on, and asked for by the gate.
mod candidates;

/// Load on request, through the binary and the API.
mod capacity;

/// CloudHSM key stores: clusters fit and unfit, and the password of kmsuser.
mod cloudhsm;

/// The command line as people and their shells use it.
mod command;

/// What other tools make of the faults; `tests/compare` runs it.
mod compare;

/// The commands `config` and `token`, as they are run from a shell.
mod config;

/// The real daemon, as a process: from request to ending, through signals and kill -9.
mod daemon;

/// The KMS keys of a key store, found through the AWS SDK at the simulated KMS.
mod enumeration;

/// Key stores of several accounts and Regions, found through STS and profiles, and what was changed behind our back.
mod discovery;

/// What is deployed beside the binary: alert rules, runbooks, dashboards, units, images, charts, policies.
mod deploy;

/// What resolvers say, from the sandbox's name server.
mod dns;

/// Requests that are forged through the daemon: where names may not lead.
mod egress;

/// The floors of lib.rs and the layout hold.
mod floors;

/// The KMS drop-in endpoint, asked by the AWS SDK for Rust and by the clients that people have.
mod kms_endpoint;

/// The keys behind a candidate: metadata, round trips, and whether they are the same keys.
mod keys;

/// The journal's contract, kept by every database.
mod journal;

/// The 250 ms of KMS and its one retry.
mod latency;

/// The fault matrix: one list of everything that can be wrong, and what must come of it.
mod matrix;

/// What our own identity may do, as IAM tells it.
mod permissions;

/// The page, over real sockets: who may see it, what its answers forbid, what it does with hostile text.
mod page;

/// The peers that the others talk to.
mod peers;

/// Signed tokens of identity providers: real keys, from real servers, and everything that can be wrong with either.
mod oidc;

/// schemathesis against the daemon's own description.
mod openapi;

/// Other daemons that look at the same candidate: agreement, disagreement, silence, impostors.
mod perspectives;

/// PostgreSQL servers that the others use.
mod postgres;

/// The README does not drift from the code.
mod readme;

/// Several daemons on one PostgreSQL: taking over, fencing, orders between them.
mod replicas;

/// Requests that a proxy must refuse, and why it refuses one that it should not.
mod refusals;
/// The configuration read anew while the daemon runs.
mod reload;
/// Rotations of a proxy's credential through the real daemon, to their proof and to every other end.
mod rotation;
/// The sandbox command and its story.
mod sandbox;
/// Where credentials come from, and what is new there.
mod secrets;
/// Traces: a collector that is sent spans, and reads them.
mod traces;

/// TLS as KMS sees it: AWS's list, several addresses, facts of refused certificates.
mod tls;
/// VPC endpoint services: what EC2 and Elastic Load Balancing tell, and updates that it blocks.
mod vpc;

/// Updates from request to ending, through the AWS SDK against the simulated KMS, with faults, races and restarts.
mod update;
