//! Simulated peers on loopback: real protocol, real TLS, real signatures, faults on command.

pub mod kms;
