//! What bends a pre-flight: promoted checks, waived checks, and routes past DNS.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::fault::{Collector, found};
use super::raw::{Section, Taken};
use super::resolve::{all_different, rule};
use super::settings::Waiver;
use crate::check::{self, Level};
use crate::clock::Timestamp;
use crate::key_store::{CustomKeyStoreId, XksProxyUriEndpoint};
use crate::probe::{Egress, HostSuffix, vpc_network};

const UNKNOWN_CHECK: &str = "must be the id of a check, as listed by: xks-preflight catalogue";

/// The checks of `preflight.promote`.
pub(super) fn promoted(ids: Vec<Taken<String>>, faults: &mut Collector) -> Option<Vec<String>> {
    let mut whole = all_different(&ids, faults);
    for id in &ids {
        let rule = match check::find(&id.value) {
            Some(check) if check.level == Level::Should => continue,
            Some(_) => "is not a check of level should, and only those can be promoted".to_owned(),
            None => UNKNOWN_CHECK.to_owned(),
        };
        faults.add(id.line, &id.path, format!("{rule} {}", found(&id.value)));
        whole = false;
    }
    whole.then(|| ids.into_iter().map(|id| id.value).collect())
}

/// The hosts of `preflight.capacity_allow`, in lower case.
pub(super) fn hosts(texts: Vec<Taken<String>>, faults: &mut Collector) -> Option<BTreeSet<String>> {
    let mut hosts = BTreeSet::new();
    let mut whole = true;
    for text in texts {
        let fault = match host(&text.value) {
            Ok(host) if hosts.contains(&host) => "is there twice".to_owned(),
            Ok(host) => {
                hosts.insert(host);
                continue;
            }
            Err(rule) => format!("{rule} {}", found(&text.value)),
        };
        faults.add(text.line, &text.path, fault);
        whole = false;
    }
    whole.then_some(hosts)
}

/// `preflight.endpoint_hosts` and `preflight.vpc_networks`.
pub(super) fn egress(section: &mut Section, faults: &mut Collector) -> Option<Egress> {
    let hosts = each(section.texts("endpoint_hosts")?, HostSuffix::parse, faults);
    let networks = each(section.texts("vpc_networks")?, vpc_network, faults);
    Some(Egress { hosts: Some(hosts?).filter(|hosts| !hosts.is_empty()), vpc_networks: Some(networks?) })
}

fn each<T>(
    texts: Vec<Taken<String>>,
    parse: impl Fn(&str) -> Result<T, String>,
    faults: &mut Collector,
) -> Option<Vec<T>> {
    let parsed = texts.into_iter().map(|text| {
        parse(&text.value)
            .map_err(|rule| faults.add(text.line, &text.path, format!("{rule} {}", found(&text.value))))
            .ok()
    });
    // Every one is looked at, so that all faults are told.
    let parsed: Vec<Option<T>> = parsed.collect();
    parsed.into_iter().collect()
}

fn host(text: &str) -> Result<String, String> {
    let endpoint = XksProxyUriEndpoint::parse(&format!("https://{text}"));
    endpoint.map(|_| text.to_ascii_lowercase()).map_err(|_| "must be a host name without scheme or port".to_owned())
}

/// The tables of `preflight.routes`, by host in lower case.
pub(super) fn routes(sections: Vec<Section>, faults: &mut Collector) -> Option<BTreeMap<String, Vec<SocketAddr>>> {
    let mut routes = BTreeMap::new();
    let mut whole = true;
    for mut section in sections {
        let host = section.parse("host", faults, host);
        let addresses = section.texts("connect_to").and_then(|list| {
            if list.is_empty() {
                faults.add(section.line, &format!("{}.connect_to", section.path), "must have at least one address");
            }
            let parsed: Vec<_> = list.iter().map(|item| address(item, faults)).collect();
            parsed.into_iter().collect::<Option<Vec<_>>>()
        });
        section.finish(faults);
        let (Some(host), Some(addresses)) = (host, addresses) else {
            whole = false;
            continue;
        };
        if routes.insert(host.value.clone(), addresses).is_some() {
            faults.add(host.line, &host.path, format!("is there twice {}", found(&host.value)));
        }
    }
    whole.then_some(routes)
}

fn address(item: &Taken<String>, faults: &mut Collector) -> Option<SocketAddr> {
    let parsed = item.value.parse();
    if parsed.is_err() {
        let why = "must be an IP address and a port, for example 192.0.2.7:443";
        faults.add(item.line, &item.path, format!("{why} {}", found(&item.value)));
    }
    parsed.ok()
}

/// The tables of `preflight.waivers`; `stores` are the known ones, if they could be read.
pub(super) fn waivers(
    sections: Vec<Section>,
    stores: Option<&BTreeSet<CustomKeyStoreId>>,
    faults: &mut Collector,
) -> Option<Vec<Waiver>> {
    let mut waivers: Vec<Waiver> = Vec::new();
    let mut whole = true;
    for mut section in sections {
        let section_path = section.path.clone();
        let check = section.parse("check", faults, |text| match check::find(text) {
            Some(check) => Ok(check.id.to_owned()),
            None => Err(UNKNOWN_CHECK.to_owned()),
        });
        let one_store = section.has("key_store");
        let key_store = section.parse("key_store", faults, |text| {
            let id = rule(CustomKeyStoreId::parse)(text)?;
            match stores {
                Some(known) if !known.contains(&id) => Err("must be the id of one of [[key_stores]]".to_owned()),
                _ => Ok(id),
            }
        });
        let owner = section.parse("owner", faults, |text| line(text, 100));
        let asks_for_second = section.has("approved_by");
        let second = section.parse("approved_by", faults, |text| line(text, 100));
        let reason = section.parse("reason", faults, |text| line(text, 500));
        let until = section.parse("until", faults, |text| {
            Timestamp::parse(text).map_err(|_| "must be an RFC 3339 time, for example 2027-01-31T00:00:00Z".to_owned())
        });
        section.finish(faults);
        let readable = key_store.is_some() == one_store && second.is_some() == asks_for_second;
        let (Some(check), Some(owner), Some(reason), Some(until), true) = (check, owner, reason, until, readable)
        else {
            whole = false;
            continue;
        };
        let second = second.map(|name| name.value);
        let alone = second.as_ref().is_none_or(|second| second.to_lowercase() == owner.value.to_lowercase());
        if alone && check::find(&check.value).is_some_and(check::Check::waiver_needs_two) {
            let why = "must be there and name somebody else than owner, because nobody waives this check alone";
            faults.add(check.line, &format!("{section_path}.approved_by"), why);
            whole = false;
        }
        let key_store = key_store.map(|id| id.value);
        if waivers.iter().any(|other| other.waiver.check == check.value && other.key_store == key_store) {
            faults.add(check.line, &check.path, format!("is waived twice {}", found(&check.value)));
        }
        let waiver = check::Waiver {
            check: check.value,
            owner: owner.value,
            approved_by: second,
            reason: reason.value,
            until: Some(until.value),
        };
        waivers.push(Waiver { key_store, until: until.value, waiver });
    }
    whole.then_some(waivers)
}

fn line(text: &str, longest: usize) -> Result<String, String> {
    let fits = !text.trim().is_empty() && text.chars().count() <= longest && !text.chars().any(char::is_control);
    if fits { Ok(text.to_owned()) } else { Err(format!("must be 1 to {longest} characters in one line")) }
}
