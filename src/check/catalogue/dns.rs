//! Checks of the name.

use super::{Check, GUIDE, Level, SPEC, Stage, UNREACHABLE, cite, judge};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "dns.resolves",
        stage: Stage::Dns,
        level: Level::Must,
        title: "the name resolves",
        citation: cite(SPEC, "URI"),
        remedy: "Create or correct the DNS record, or correct the host; new names need the zone's negative TTL to pass.",
        kms: UNREACHABLE,
        judge: judge::dns::resolves,
    },
    Check {
        id: "dns.ipv4",
        stage: Stage::Dns,
        level: Level::Must,
        title: "the name has an A record: KMS speaks IPv4 only",
        citation: cite(GUIDE, "Create an external key store: IPv4 requirements"),
        remedy: "Add an A record for the proxy; AAAA records alone are of no use to KMS.",
        kms: UNREACHABLE,
        judge: judge::dns::ipv4,
    },
    Check {
        id: "dns.public_address",
        stage: Stage::Dns,
        level: Level::Must,
        title: "for PUBLIC_ENDPOINT every address is globally routable",
        citation: cite(GUIDE, "Create an external key store: public endpoint connectivity"),
        remedy: "Publish public addresses only, or use VPC_ENDPOINT_SERVICE connectivity; every address counts, KMS may take any.",
        kms: UNREACHABLE,
        judge: judge::dns::public_address,
    },
    Check {
        id: "dns.private_name",
        stage: Stage::Dns,
        level: Level::Advice,
        title: "for VPC_ENDPOINT_SERVICE the private DNS name does not resolve publicly to something else",
        citation: cite(GUIDE, "Configuring VPC endpoint service connectivity"),
        remedy: "Remove the public record or accept that a client outside the VPC reaches another server under this name.",
        kms: None,
        judge: judge::dns::private_name,
    },
];
