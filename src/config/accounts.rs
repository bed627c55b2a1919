//! `[[accounts]]`: further AWS accounts and Regions, and where the key stores of the configuration are among them.

use std::collections::{BTreeMap, BTreeSet};

use super::fault::{Collector, found};
use super::raw::Section;
use super::resolve::{Resolver, all_different, endpoint_url, iam_identity, rule};
use super::settings::{AccountSettings, PlaceEndpoints};
use crate::aws::AwsRole;
use crate::key_store::{AccountId, AccountName, Place, Region};

/// More places than these would be a loop that wrote the file: each is asked all the time.
const MOST_PLACES: usize = 200;

impl Resolver<'_> {
    pub(super) fn accounts(
        &mut self,
        sections: Vec<Section>,
        home: Option<&Region>,
        credentials: Option<&BTreeSet<String>>,
    ) -> Option<Vec<AccountSettings>> {
        let mut accounts: Vec<AccountSettings> = Vec::new();
        let mut whole = true;
        let mut places = 0;
        for section in sections {
            let (line, path) = (section.line, section.path.clone());
            let name = section.has("name").then(|| format!("{path}.name"));
            let Some(account) = self.account(section, credentials) else {
                whole = false;
                continue;
            };
            let mut fault = |why: String| self.faults.add(line, name.as_deref().unwrap_or(&path), why);
            if accounts.iter().any(|other| other.name == account.name) {
                fault(format!("is there twice {}", found(account.name.as_str())));
            }
            match (account.name.is_home(), account.profile.is_some() || account.role.is_some()) {
                (true, true) => fault("must not be home: profile or role_arn lead elsewhere than [kms]".to_owned()),
                (false, false) => {
                    fault("must be home: without profile or role_arn this is the account of [kms]".to_owned());
                }
                (true, false) if home.is_some_and(|home| account.regions.contains(home)) => {
                    let why = "must not have kms.region again";
                    self.faults.add(line, &format!("{path}.regions"), why);
                }
                _ => {}
            }
            places += account.regions.len();
            if places > MOST_PLACES {
                self.faults.add(line, &path, format!("is one too many: at most {MOST_PLACES} Regions of all accounts"));
                return None;
            }
            accounts.push(account);
        }
        whole.then_some(accounts)
    }

    fn account(&mut self, mut section: Section, credentials: Option<&BTreeSet<String>>) -> Option<AccountSettings> {
        let (line, path) = (section.line, section.path.clone());
        let name = section.parse("name", self.faults, rule(AccountName::parse));
        let regions = self.regions(&mut section);
        let profile = section.parse("profile", self.faults, profile_name);
        let has_role = section.has("role_arn");
        let role = section.parse("role_arn", self.faults, role_arn);
        let has_external_id = section.has("external_id");
        let external_id = section.parse("external_id", self.faults, external_id);
        let session_name = section.parse("session_name", self.faults, session_name);
        let sts_endpoint_url = section.parse("sts_endpoint_url", self.faults, endpoint_url);
        let permissions_of = section.parse("permissions_of", self.faults, iam_identity);
        let iam_endpoint_url = section.parse("iam_endpoint_url", self.faults, endpoint_url);
        let lent = self.lent(&mut section, credentials);
        let endpoints = section.sections("endpoints").and_then(|all| self.endpoints(all, regions.as_deref()));
        let faulty = section.is_faulty();
        section.finish(self.faults);
        for (is_there, key) in [(has_external_id, "external_id"), (sts_endpoint_url.is_some(), "sts_endpoint_url")] {
            if is_there && !has_role && !faulty {
                self.faults.add(line, &format!("{path}.{key}"), "needs role_arn beside it");
            }
        }
        if (has_role && role.is_none()) || (has_external_id && external_id.is_none()) || faulty {
            return None;
        }
        let session_name = session_name?.value;
        let external_id = external_id.map(|id| id.value);
        Some(AccountSettings {
            name: name?.value,
            regions: regions?,
            profile: profile.map(|profile| profile.value),
            role: role.map(|arn| AwsRole { arn: arn.value, external_id, session_name }),
            sts_endpoint_url: sts_endpoint_url.map(|url| url.value),
            permissions_of: permissions_of.map(|arn| arn.value),
            iam_endpoint_url: iam_endpoint_url.map(|url| url.value),
            credentials: lent?,
            endpoints: endpoints?,
        })
    }

    /// Which credentials key stores may be probed with that nobody configured; `names` are those that there are.
    pub(super) fn lent(&mut self, section: &mut Section, names: Option<&BTreeSet<String>>) -> Option<BTreeSet<String>> {
        let lent = section.texts("credentials")?;
        let mut known = all_different(&lent, self.faults);
        for name in &lent {
            if names.is_some_and(|names| !names.contains(&name.value)) {
                let why = format!("must name one of [credentials.NAME] {}", found(&name.value));
                self.faults.add(name.line, &name.path, why);
                known = false;
            }
        }
        known.then(|| lent.into_iter().map(|name| name.value).collect())
    }

    fn regions(&mut self, section: &mut Section) -> Option<Vec<Region>> {
        let (line, path) = (section.line, format!("{}.regions", section.path));
        let texts = section.texts("regions")?;
        let different = all_different(&texts, self.faults);
        if texts.is_empty() {
            self.faults.add(line, &path, "must name at least one Region");
            return None;
        }
        let count = texts.len();
        let regions: Vec<Region> = texts
            .into_iter()
            .filter_map(|text| match Region::parse(&text.value) {
                Ok(region) => Some(region),
                Err(invalid) => {
                    self.faults.add(text.line, &text.path, format!("{} {}", invalid.rule, found(&text.value)));
                    None
                }
            })
            .collect();
        (different && regions.len() == count).then_some(regions)
    }

    fn endpoints(
        &mut self,
        sections: Vec<Section>,
        regions: Option<&[Region]>,
    ) -> Option<BTreeMap<Region, PlaceEndpoints>> {
        let mut endpoints = BTreeMap::new();
        let count = sections.len();
        for mut section in sections {
            let region = section.parse("region", self.faults, rule(Region::parse));
            let mut url = |name: &str| section.parse(name, self.faults, endpoint_url).map(|url| url.value);
            let of_region =
                PlaceEndpoints { kms: url("kms"), ec2: url("ec2"), elbv2: url("elbv2"), cloudhsm: url("cloudhsm") };
            section.finish(self.faults);
            let Some(region) = region else { continue };
            if regions.is_some_and(|regions| !regions.contains(&region.value)) {
                self.faults.add(region.line, &region.path, "must be one of the account's regions");
            }
            if endpoints.insert(region.value.clone(), of_region).is_some() {
                self.faults.add(region.line, &region.path, format!("is there twice {}", found(region.value.as_str())));
            }
        }
        (endpoints.len() == count).then_some(endpoints)
    }
}

/// Where the key stores of the configuration can be.
pub(super) struct Atlas<'a> {
    /// `kms.region`
    pub(super) home: &'a Region,
    pub(super) accounts: &'a [AccountSettings],
}

impl Atlas<'_> {
    /// The place of a key store, from its keys `account` and `region`; faults are told.
    pub(super) fn place(&self, section: &mut Section, faults: &mut Collector) -> Option<Place> {
        let named = section.has("account");
        let account = section.parse("account", faults, |text| {
            let known = text == "home" || self.accounts.iter().any(|account| account.name.as_str() == text);
            let name = AccountName::parse(text).ok().filter(|_| known);
            name.ok_or_else(|| "must be home or the name of one of [[accounts]]".to_owned())
        });
        let (line, path) = (section.line, format!("{}.region", section.path));
        let given = section.has("region");
        let region = section.parse("region", faults, rule(Region::parse));
        let account = if named { account?.value } else { AccountName::home() };
        let further = self.accounts.iter().filter(|other| other.name == account).flat_map(|other| &other.regions);
        let regions: BTreeSet<&Region> = account.is_home().then_some(self.home).into_iter().chain(further).collect();
        let told =
            |regions: &BTreeSet<&Region>| regions.iter().map(|region| region.as_str()).collect::<Vec<_>>().join(", ");
        match (given, region) {
            (true, None) => None,
            (true, Some(region)) if regions.contains(&region.value) => Some(Place { account, region: region.value }),
            (true, Some(region)) => {
                let why = format!(
                    "must be a Region of the account {account} ({}): add it to one of [[accounts]] {}",
                    told(&regions),
                    found(region.value.as_str())
                );
                faults.add(region.line, &region.path, why);
                None
            }
            (false, _) if account.is_home() => Some(Place { account, region: self.home.clone() }),
            (false, _) => {
                let mut all = regions.iter();
                if let (Some(&only), None) = (all.next(), all.next()) {
                    return Some(Place { account, region: only.clone() });
                }
                let why = format!("is missing: the account {account} has several ({})", told(&regions));
                faults.add(line, &path, why);
                None
            }
        }
    }
}

fn profile_name(text: &str) -> Result<String, String> {
    let fits = (1..=128).contains(&text.len()) && !text.chars().any(char::is_control) && text.trim() == text;
    if fits { Ok(text.to_owned()) } else { Err("must be the name of a profile, 1 to 128 characters".to_owned()) }
}

/// What AssumeRole takes as RoleArn; only roles can be assumed.
fn role_arn(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let fits = match parts.as_slice() {
        ["arn", partition, "iam", "", account, role] => {
            partition.starts_with("aws") && AccountId::parse(account).is_ok() && role.starts_with("role/")
        }
        _ => false,
    };
    let rule = "must be the ARN of an IAM role, such as arn:aws:iam::444455556666:role/xks-preflight";
    if fits && text.len() <= 2_048 && text.is_ascii() { Ok(text.to_owned()) } else { Err(rule.to_owned()) }
}

/// The pattern of AssumeRole's ExternalId.
fn external_id(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&b);
    if (2..=1_224).contains(&text.len()) && text.bytes().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("must be 2 to 1224 of A-Z, a-z, 0-9 and _+=,.@:/-".to_owned())
    }
}

/// The pattern of AssumeRole's RoleSessionName.
fn session_name(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b);
    if (2..=64).contains(&text.len()) && text.bytes().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("must be 2 to 64 of A-Z, a-z, 0-9 and _+=,.@-".to_owned())
    }
}
