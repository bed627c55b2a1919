//! Every violation of the health answer's schema, and what a right one can tell.

use super::row::*;

pub(super) const ROWS: &[Row] = &[
    proxy("health-without-fleet-size", blocked("health.schema", "schema", INVALID_RESPONSE)),
    proxy("health-without-proxy-vendor", blocked("health.schema", "schema", INVALID_RESPONSE)),
    proxy("health-without-proxy-model", blocked("health.schema", "schema", INVALID_RESPONSE)),
    proxy("health-without-ekm-vendor", blocked("health.schema", "schema", INVALID_RESPONSE)),
    proxy("health-without-ekm-fleet", blocked("health.schema", "schema", INVALID_RESPONSE)),
    proxy("health-ekm-without-id", blocked("health.schema", "schema", INVALID_RESPONSE)),
    proxy("health-ekm-without-model", blocked("health.schema", "schema", INVALID_RESPONSE)),
    proxy("health-ekm-without-status", blocked("health.schema", "schema", INVALID_RESPONSE)),
    proxy("health-vendor-null", blocked("health.schema", "schema", INVALID_RESPONSE)),
    proxy("health-vendor-number", blocked("health.schema", "schema", INVALID_RESPONSE)),
    proxy("health-fleet-size-string", blocked("health.schema", "schema", INVALID_RESPONSE)),
    proxy("health-fleet-size-zero", blocked("health.fleet_size", "fleet_size", INVALID_RESPONSE)),
    proxy("health-fleet-size-negative", blocked("health.fleet_size", "fleet_size", INVALID_RESPONSE)),
    proxy("health-fleet-size-fractional", blocked("health.schema", "schema", INVALID_RESPONSE)),
    proxy("health-fleet-size-huge", blocked("health.schema", "schema", INVALID_RESPONSE)),
    proxy("health-ekm-fleet-object", blocked("health.schema", "schema", INVALID_RESPONSE)),
    proxy("health-ekm-fleet-empty", blocked("health.schema", "schema", INVALID_RESPONSE)),
    proxy("health-ekm-fleet-eleven", blocked("health.schema", "schema", INVALID_RESPONSE)),
    proxy("health-ekm-not-object", blocked("health.schema", "schema", INVALID_RESPONSE)),
    proxy("health-status-unknown", blocked("health.schema", "schema", INVALID_RESPONSE)),
    proxy("health-duplicate-member", blocked("health.schema", "schema", INVALID_RESPONSE)),
    proxy("ekm-all-unavailable", blocked("health.ekm_available", "all_unavailable", NOT_REACHABLE)),
    proxy("ekm-one-unavailable", warned("health.ekm_degraded", "degraded")),
    proxy("ekm-one-degraded", warned("health.ekm_degraded", "degraded")),
];
