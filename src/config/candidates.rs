//! `[[key_stores.candidates]]`: settings that are planned for a key store, and how long they are to be watched.

use std::collections::{BTreeMap, BTreeSet};

use super::fault::found;
use super::quantity;
use super::raw::Section;
use super::resolve::{Resolver, rule};
use super::settings::{Candidate, MonitorSchedule, UpdatePolicy, WatchedKeyStore};
use crate::key_store::{
    AccountId, CandidateName, Change, ConnectivityKind, VpcEndpointServiceName, XksProxyUriEndpoint, XksProxyUriPath,
};

impl Resolver<'_> {
    /// The candidates of one key store; `credentials` are the known ones, if they could be read.
    pub(super) fn candidates(
        &mut self,
        sections: Vec<Section>,
        credentials: Option<&BTreeSet<String>>,
    ) -> Option<Vec<Candidate>> {
        let mut candidates = BTreeMap::new();
        let mut whole = true;
        for mut section in sections {
            let (line, path, faulty) = (section.line, section.path.clone(), section.is_faulty());
            let mut unread = faulty;
            let mut optional = |has: bool, read: bool| unread |= has && !read;
            let name = section.parse("name", self.faults, rule(CandidateName::parse));
            let has = section.has("endpoint");
            let endpoint = section.parse("endpoint", self.faults, rule(XksProxyUriEndpoint::parse));
            optional(has, endpoint.is_some());
            let has = section.has("path");
            let uri_path = section.parse("path", self.faults, rule(XksProxyUriPath::parse));
            optional(has, uri_path.is_some());
            // Its words are checked by its shape.
            let connectivity = section.text("connectivity").map(|word| match word.value.as_str() {
                "vpc" => ConnectivityKind::VpcEndpointService,
                _ => ConnectivityKind::PublicEndpoint,
            });
            let has = section.has("vpc_endpoint_service");
            let service = section.parse("vpc_endpoint_service", self.faults, rule(VpcEndpointServiceName::parse));
            optional(has, service.is_some());
            let has = section.has("vpc_endpoint_service_owner");
            let owner = section.parse("vpc_endpoint_service_owner", self.faults, rule(AccountId::parse));
            optional(has, owner.is_some());
            let has = section.has("credential");
            let credential = section.parse("credential", self.faults, |name| match credentials {
                Some(names) if !names.contains(name) => Err("must name one of [credentials.NAME]".to_owned()),
                _ => Ok(name.to_owned()),
            });
            optional(has, credential.is_some());
            section.finish(self.faults);
            let change = Change {
                endpoint: endpoint.map(|endpoint| endpoint.value),
                path: uri_path.map(|path| path.value),
                connectivity,
                service_name: service.map(|service| service.value),
                service_owner: owner.map(|owner| owner.value),
                ..Change::default()
            };
            if !unread && change.is_empty() && credential.is_none() {
                let why = "must have something that is to differ: endpoint, path, connectivity, credential or another";
                self.faults.add(line, &path, why);
                unread = true;
            }
            let service_given = change.service_name.is_some() || change.service_owner.is_some();
            if connectivity == Some(ConnectivityKind::PublicEndpoint) && service_given {
                let why = "must be \"vpc\", or left out, beside a VPC endpoint service";
                self.faults.add(line, &format!("{path}.connectivity"), why);
                unread = true;
            }
            let (Some(name), false) = (name, unread) else {
                whole = false;
                continue;
            };
            let credential = credential.map(|credential| credential.value);
            let candidate = Candidate { name: name.value.clone(), change, credential };
            if candidates.insert(name.value, candidate).is_some() {
                self.faults.add(name.line, &name.path, "is there twice");
                whole = false;
            }
        }
        whole.then(|| candidates.into_values().collect())
    }

    /// Probes must come often enough for any candidate to be green for long.
    pub(super) fn green_can_last(
        &mut self,
        monitor: &MonitorSchedule,
        (update, line): (&UpdatePolicy, Option<usize>),
        stores: &[WatchedKeyStore],
    ) {
        let asked = !update.require_green.is_zero()
            || stores.iter().any(|store| store.require_green.is_some_and(|green| !green.is_zero()));
        let watched = stores.iter().any(|store| !store.candidates.is_empty());
        if (asked || watched) && update.green_gap < monitor.interval * 2 {
            let why = format!(
                "must be at least twice monitor.interval, which is {}: no candidate would ever stay green {}",
                quantity::show_duration(monitor.interval),
                found(&quantity::show_duration(update.green_gap))
            );
            self.faults.add(line, "update.green_gap", why);
        }
    }
}
