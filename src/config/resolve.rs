//! From values of the right shape to settings: newtypes, references between sections, and rules over several keys.
//!
//! Every function reads all its keys before it gives up, so that all faults come to light; `None` means that at
//! least one was reported.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::accounts::Atlas;
use super::callers;
use super::fault::{Collector, found};
use super::files;
use super::origin::{self, Origin, SecretsManagerOrigin, WithPath};
use super::quantity;
use super::raw::{Section, Taken};
use super::reading::Reading;
use super::secret::{self, Environment};
use super::settings::{
    AuditSettings, CloudHsmSettings, Config, HttpLimits, KmsSettings, Listen, MonitorSchedule, NamedCredential,
    PreflightSettings, VpcSettings, WatchedKeyStore,
};
use super::waiver;
use crate::access;
use crate::audit::SigningKey;
use crate::key_store::{
    AccessKeyId, AccountId, CustomKeyStoreId, ExternalKeyId, HalfNames, Invalid, ProxyCredential, RawSecretAccessKey,
    Region,
};
use crate::listener::Rate;
use crate::probe::ResolverSettings;

/// What resolving needs besides the sections.
pub(super) struct Resolver<'a> {
    /// Relative paths start here.
    pub(super) directory: &'a Path,
    pub(super) environment: Environment<'a>,
    pub(super) faults: &'a mut Collector,
}

impl Resolver<'_> {
    pub(super) fn config(mut self, mut root: Section) -> Option<Config> {
        let tokens = root.sections("tokens").and_then(|tokens| self.tokens(tokens));
        let kms_credentials = root.sections("kms_credentials").and_then(|all| self.kms_credentials(all));
        let kms_is_open = kms_credentials.as_ref().is_none_or(|credentials| !credentials.is_empty());
        let certificates = root.sections("client_certificates");
        let first_of_them =
            certificates.as_ref().and_then(|all| all.first()).map(|first| (first.line, first.path.clone()));
        let certificates = certificates.and_then(|all| self.client_certificates(all));
        let oidc = root.sections("oidc").and_then(|all| self.oidc(all));
        let some = |count: Option<usize>| count.is_none_or(|count| count > 0);
        let has_callers = some(tokens.as_ref().map(Vec::len))
            || some(certificates.as_ref().map(Vec::len))
            || some(oidc.as_ref().map(Vec::len));
        let approvers = callers::approvers(tokens.as_deref(), certificates.as_deref(), oidc.as_deref());
        let listen =
            root.section("listen").and_then(|section| self.listen(section, has_callers, kms_is_open, first_of_them));
        let http = root.section("http").and_then(|section| self.http(section));
        let journal = root.section("journal").and_then(|section| self.journal(section));
        let lease = journal.as_ref().map(|journal| journal.lease);
        let audit = root.section("audit").map(|section| self.audit(section));
        let credentials = root.named("credentials");
        let names: Option<BTreeSet<String>> =
            credentials.as_ref().map(|named| named.iter().map(|(name, _)| name.clone()).collect());
        let kms = root.section("kms").and_then(|section| self.kms(section, lease, names.as_ref()));
        let vpc = root.section("vpc").and_then(|section| self.vpc(section));
        let cloudhsm = root.section("cloudhsm").map(|section| self.cloudhsm(section));
        let region = kms.as_ref().map(|kms| &kms.region);
        let credentials = credentials.and_then(|named| self.credentials(named, region));
        let accounts = root.sections("accounts").and_then(|all| self.accounts(all, region, names.as_ref()));
        let atlas = region.zip(accounts.as_deref()).map(|(home, accounts)| Atlas { home, accounts });
        let key_stores =
            root.sections("key_stores").and_then(|all| self.key_stores(all, names.as_ref(), atlas.as_ref(), approvers));
        let ids: Option<BTreeSet<CustomKeyStoreId>> =
            key_stores.as_ref().map(|stores| stores.iter().map(|store| store.id.clone()).collect());
        let preflight = root.section("preflight");
        let preflight_line = preflight.as_ref().and_then(|section| section.line);
        let preflight = preflight.and_then(|section| self.preflight(section, ids.as_ref()));
        let perspectives =
            root.sections("perspectives").and_then(|all| self.perspectives(all, preflight.as_ref(), preflight_line));
        let traces = root.section("traces").and_then(|section| self.traces(section));
        let monitor = root.section("monitor").and_then(|section| self.monitor(section));
        let update = root.section("update");
        let update_line = update.as_ref().and_then(|section| section.line);
        let update = update.and_then(|section| self.update(section, ids.as_ref(), approvers));
        if let (Some(monitor), Some(update), Some(key_stores)) = (&monitor, &update, &key_stores) {
            self.green_can_last(monitor, (update, update_line), key_stores);
        }
        root.finish(self.faults);
        Some(Config {
            listen: listen?,
            http: http?,
            journal: journal?,
            audit: audit?,
            kms: kms?,
            accounts: accounts?,
            vpc: vpc?,
            cloudhsm: cloudhsm?,
            credentials: credentials?,
            key_stores: key_stores?,
            preflight: preflight?,
            perspectives: perspectives?,
            traces: traces?,
            monitor: monitor?,
            update: update?,
            kms_credentials: kms_credentials?,
            tokens: tokens?,
            client_certificates: certificates?,
            oidc: oidc?,
            reading: Reading::default(),
            sha256: String::new(),
        })
    }

    fn listen(
        &mut self,
        mut section: Section,
        has_callers: bool,
        kms_is_open: bool,
        certificates: Option<(Option<usize>, String)>,
    ) -> Option<Listen> {
        let api = section.parse("api", self.faults, |text| {
            text.parse::<SocketAddr>()
                .map_err(|_| "must be an IP address and a port, for example 127.0.0.1:8480".to_owned())
        });
        let kms = section.parse("kms", self.faults, |text| {
            text.parse::<SocketAddr>()
                .map_err(|_| "must be an IP address and a port, for example 127.0.0.1:8481".to_owned())
        });
        let certificate = section.text("tls_certificate_file");
        let key = section.text("tls_key_file");
        let client_ca = section.text("client_ca_file");
        let encrypted = certificate.is_some() || key.is_some();
        if let Some(file) = client_ca.as_ref().filter(|_| !encrypted) {
            self.faults.add(file.line, &file.path, "needs tls_certificate_file and tls_key_file beside it");
        }
        if let Some((line, path)) = certificates.filter(|_| client_ca.is_none()) {
            self.faults.add(line, &path, "needs listen.client_ca_file: without it nobody is asked for a certificate");
        }
        let tls = match (certificate, key) {
            (Some(certificate), Some(key)) => {
                files::server_tls(self.directory, &certificate, &key, client_ca.as_ref(), self.faults)
            }
            (Some(one), None) => {
                self.faults.add(one.line, &one.path, "needs tls_key_file beside it");
                None
            }
            (None, Some(one)) => {
                self.faults.add(one.line, &one.path, "needs tls_certificate_file beside it");
                None
            }
            (None, None) => None,
        };
        let allow_insecure = section.flag("allow_insecure");
        section.finish(self.faults);
        let (api, kms) = (api?, kms?);
        if !kms.value.ip().is_loopback() && allow_insecure == Some(false) && kms_is_open && !encrypted {
            let why = "others can reach this address, and without TLS they can read the secrets in requests: set \
                       tls_certificate_file and tls_key_file, or a loopback address, or allow_insecure = true if \
                       something in front takes care of it";
            self.faults.add(kms.line, &kms.path, why);
        }
        if !api.value.ip().is_loopback() && allow_insecure == Some(false) {
            if !encrypted {
                let why = "others can reach this address, and without TLS they can read tokens and secrets: set \
                           tls_certificate_file and tls_key_file, or a loopback address, or allow_insecure = true \
                           if something in front takes care of it";
                self.faults.add(api.line, &api.path, why);
            }
            if !has_callers {
                let why = "others can reach this address, and without [[tokens]], [[client_certificates]] or [[oidc]] \
                           anyone may change key stores: add one (xks-preflight token new), or set a loopback address, or allow_insecure = true if \
                           something in front takes care of it";
                self.faults.add(api.line, &api.path, why);
            }
        }
        allow_insecure?;
        Some(Listen { api: api.value, kms: kms.value, tls })
    }

    fn http(&mut self, mut section: Section) -> Option<HttpLimits> {
        let connections = section.count("connections");
        let header_timeout = section.duration("header_timeout");
        let request_timeout = section.duration("request_timeout");
        let body_limit = section.count("body_limit");
        let per_second = section.count::<u32>("requests_per_second").and_then(NonZeroU32::new);
        let burst = section.count::<u32>("burst").and_then(NonZeroU32::new);
        let failures = section.count::<u32>("failures_per_minute").and_then(NonZeroU32::new);
        section.finish(self.faults);
        Some(HttpLimits {
            connections: connections?,
            header_timeout: header_timeout?,
            request_timeout: request_timeout?,
            body_limit: body_limit?,
            principal_rate: Rate { burst: burst?, ..Rate::within(Duration::from_secs(1), per_second?) },
            stranger_rate: Rate::within(Duration::from_mins(1), failures?),
        })
    }

    fn audit(&mut self, mut section: Section) -> AuditSettings {
        let signing_key = section.section("signing_key").and_then(|source| {
            let (line, path) = (source.line, source.path.clone());
            let text = secret::resolve(source, self.directory, self.environment, self.faults)?;
            SigningKey::parse(&text).map_err(|rule| self.faults.add(line, &path, rule)).ok()
        });
        section.finish(self.faults);
        AuditSettings { signing_key }
    }

    pub(super) fn path(&mut self, section: &mut Section, name: &str) -> Option<PathBuf> {
        let path = section.parse(name, self.faults, |text| {
            if text.is_empty() || text.contains('\0') { Err("must be a path".to_owned()) } else { Ok(text.to_owned()) }
        })?;
        Some(self.directory.join(path.value))
    }

    fn kms(
        &mut self,
        mut section: Section,
        lease: Option<Duration>,
        credentials: Option<&BTreeSet<String>>,
    ) -> Option<KmsSettings> {
        let region = section.parse("region", self.faults, rule(Region::parse));
        let permissions_of = section.parse("permissions_of", self.faults, iam_identity);
        let iam_endpoint_url = section.parse("iam_endpoint_url", self.faults, endpoint_url);
        let endpoint_url = section.parse("endpoint_url", self.faults, endpoint_url);
        let poll_interval = section.duration("poll_interval");
        let timeout = section.duration("timeout");
        if let Some(lease) = lease.filter(|lease| timeout.is_some_and(|timeout| timeout * 2 > *lease)) {
            let why = format!("must be at most half of journal.lease, which is {}", quantity::show_duration(lease));
            self.faults.add(section.line, &format!("{}.timeout", section.path), why);
        }
        let describe_key_rate = section.count("describe_key_rate");
        let lent = self.lent(&mut section, credentials);
        let observe_only = section.flag("observe_only");
        section.finish(self.faults);
        Some(KmsSettings {
            region: region?.value,
            endpoint_url: endpoint_url.map(|url| url.value),
            poll_interval: poll_interval?,
            timeout: timeout?,
            describe_key_rate: describe_key_rate?,
            permissions_of: permissions_of.map(|arn| arn.value),
            iam_endpoint_url: iam_endpoint_url.map(|url| url.value),
            credentials: lent?,
            observe_only: observe_only?,
        })
    }

    fn vpc(&mut self, mut section: Section) -> Option<VpcSettings> {
        let url = |text: &str| {
            let rule = "must be https://HOST[:PORT], or http:// with a loopback address";
            endpoint_url(text).map_err(|_| rule.to_owned())
        };
        let check_service = section.flag("check_service");
        let ec2_endpoint_url = section.parse("ec2_endpoint_url", self.faults, url);
        let elbv2_endpoint_url = section.parse("elbv2_endpoint_url", self.faults, url);
        section.finish(self.faults);
        Some(VpcSettings {
            check_service: check_service?,
            ec2_endpoint_url: ec2_endpoint_url.map(|url| url.value),
            elbv2_endpoint_url: elbv2_endpoint_url.map(|url| url.value),
        })
    }

    fn cloudhsm(&mut self, mut section: Section) -> CloudHsmSettings {
        let endpoint_url = section.parse("endpoint_url", self.faults, |text| {
            let rule = "must be https://HOST[:PORT], or http:// with a loopback address";
            endpoint_url(text).map_err(|_| rule.to_owned())
        });
        section.finish(self.faults);
        CloudHsmSettings { endpoint_url: endpoint_url.map(|url| url.value) }
    }

    fn credentials(
        &mut self,
        named: Vec<(String, Section)>,
        region: Option<&Region>,
    ) -> Option<BTreeMap<String, NamedCredential>> {
        let mut credentials = BTreeMap::new();
        let count = named.len();
        for (name, mut section) in named {
            let refresh = section.duration("refresh");
            let given_to = self.given_to(&mut section);
            let read = self.credential(section, region);
            if let (Some((origin, read)), Some(refresh), Some(given_to)) = (read, refresh, given_to) {
                let (credential, path) = read.map_or((None, None), |(credential, path)| (Some(credential), path));
                let named = NamedCredential { name: name.clone(), credential, path, origin, refresh, given_to };
                credentials.insert(name, named);
            }
        }
        (credentials.len() == count).then_some(credentials)
    }

    /// Where it comes from, and what is there now; nothing yet of what AWS keeps.
    fn credential(&mut self, mut section: Section, region: Option<&Region>) -> Option<(Origin, Option<WithPath>)> {
        let console_file = section.text("console_file");
        let given_id = section.has("access_key_id");
        let access_key_id = section.parse("access_key_id", self.faults, rule(AccessKeyId::parse));
        let source = section.section("secret");
        let program = secret::program(&mut section, self.faults);
        let kept = section.section("secrets_manager");
        let (line, path) = (section.line, section.path.clone());
        let read = match (console_file, (given_id, source), program, kept) {
            (Some(file), (false, None), None, None) => {
                let origin = Origin::Console(self.directory.join(&file.value));
                let read = origin::console_file(&self.directory.join(&file.value));
                let read = read.map_err(|why| self.faults.add(file.line, &file.path, why)).ok();
                read.map(|read| (origin, Some((read.credential, Some(read.path)))))
            }
            (None, (true, Some(source)), None, None) => {
                let (line, path) = (source.line, source.path.clone());
                let text = secret::resolve_again(source, self.directory, self.environment, self.faults);
                let secret = text.and_then(|(text, source)| {
                    let parsed = RawSecretAccessKey::parse(&text).map_err(|e| self.faults.add(line, &path, e.rule));
                    Some((parsed.ok()?, source))
                });
                access_key_id.zip(secret).map(|(id, (secret_access_key, secret))| {
                    let credential = ProxyCredential { access_key_id: id.value.clone(), secret_access_key };
                    (Origin::Halves { access_key_id: id.value, secret }, Some((credential, None)))
                })
            }
            (None, (false, None), Some(program), None) => program.value.and_then(|found| {
                let read = origin::printed(&found).map_err(|why| self.faults.add(program.line, &program.path, why));
                let read = read.ok()?;
                Some((Origin::Program(found), Some((read.credential, read.path))))
            }),
            (None, (false, None), None, Some(kept)) => {
                self.secrets_manager(kept, region).map(|origin| (Origin::SecretsManager(origin), None))
            }
            // Their own faults are told already.
            _ if section.is_faulty() => None,
            _ => {
                let rule =
                    "must have exactly one of console_file, exec, secrets_manager, and access_key_id with secret";
                self.faults.add(line, &path, rule);
                None
            }
        };
        if let Some((_, Some((credential, _)))) = &read {
            // What comes of it is one value, whatever the way.
            self.faults.reading.add(&path, credential.fingerprint().to_string().as_bytes());
        }
        section.finish(self.faults);
        read
    }

    fn secrets_manager(&mut self, mut section: Section, region: Option<&Region>) -> Option<SecretsManagerOrigin> {
        let secret_id = section.parse("secret_id", self.faults, |text| {
            let fits = (1..=2_048).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
            if fits { Ok(text.to_owned()) } else { Err("must be the name or the ARN of a secret".to_owned()) }
        });
        let own_region = section.has("region");
        let other = section.parse("region", self.faults, rule(Region::parse)).map(|region| region.value);
        let region = if own_region { other } else { region.cloned() };
        let stage = section.text("stage");
        let member = |text: &str| {
            let fits = (1..=128).contains(&text.chars().count()) && !text.chars().any(char::is_control);
            if fits { Ok(text.to_owned()) } else { Err("must be the name of a member of a JSON object".to_owned()) }
        };
        let access_key_id = section.parse("access_key_id_member", self.faults, member);
        let secret = section.parse("secret_member", self.faults, member);
        let has_endpoint = section.has("endpoint_url");
        let endpoint_url = section.parse("endpoint_url", self.faults, |text| {
            let rule = "must be https://HOST[:PORT], or http:// with a loopback address: the answer is a secret";
            endpoint_url(text).map_err(|_| rule.to_owned())
        });
        section.finish(self.faults);
        if has_endpoint && endpoint_url.is_none() {
            return None;
        }
        Some(SecretsManagerOrigin {
            secret_id: secret_id?.value,
            region: region?,
            stage: stage?.value,
            names: HalfNames { access_key_id: access_key_id?.value, secret: secret?.value },
            endpoint_url: endpoint_url.map(|url| url.value),
        })
    }

    fn key_stores(
        &mut self,
        sections: Vec<Section>,
        credentials: Option<&BTreeSet<String>>,
        atlas: Option<&Atlas<'_>>,
        approvers: Option<usize>,
    ) -> Option<Vec<WatchedKeyStore>> {
        let mut stores: Vec<WatchedKeyStore> = Vec::new();
        let mut whole = true;
        for mut section in sections {
            let id = section.parse("id", self.faults, key_store_id);
            let place = if let Some(atlas) = atlas {
                atlas.place(&mut section, self.faults)
            } else {
                // Where it is hangs on what is at fault already; what is wrong here shows all the same.
                section.text("account");
                section.parse("region", self.faults, rule(Region::parse));
                None
            };
            let credential = section.parse("credential", self.faults, |name| match credentials {
                Some(names) if !names.contains(name) => Err("must name one of [credentials.NAME]".to_owned()),
                _ => Ok(name.to_owned()),
            });
            let has_test_key = section.has("test_key_id");
            let test_key = section.parse("test_key_id", self.faults, rule(ExternalKeyId::parse));
            let prove_every_key = section.text("continuity").is_some_and(|word| word.value == "every_key");
            let approval = self.approval(&mut section, approvers);
            let refusals = section.flag("refusals");
            let require_green = section.duration("require_green");
            let candidates = section.sections("candidates").and_then(|all| self.candidates(all, credentials));
            section.finish(self.faults);
            whole &= has_test_key == test_key.is_some();
            let (Some(id), Some(place), Some(credential), Some(refusals), Some(candidates)) =
                (id, place, credential, refusals, candidates)
            else {
                whole = false;
                continue;
            };
            if stores.iter().any(|other| other.id == id.value) {
                self.faults.add(id.line, &id.path, format!("is there twice {}", found(id.value.as_str())));
            }
            stores.push(WatchedKeyStore {
                id: id.value,
                place,
                credential: credential.value,
                test_key: test_key.map(|key| key.value),
                prove_every_key,
                approval,
                refusals,
                require_green,
                candidates,
            });
        }
        whole.then_some(stores)
    }

    fn preflight(
        &mut self,
        mut section: Section,
        stores: Option<&BTreeSet<CustomKeyStoreId>>,
    ) -> Option<PreflightSettings> {
        let samples = section.count("samples");
        let concurrency = section.count("concurrency");
        let timeout = section.duration("timeout");
        let addresses = section.count("addresses");
        let ca_files = section.texts("ca_files");
        let trust = ca_files.and_then(|list| files::trust(self.directory, &list, self.faults));
        let listed = section.text("kms_trusted_roots");
        let trust = trust.and_then(|trust| files::compared(self.directory, trust, listed.as_ref(), self.faults));
        let resolver = section.texts("resolver").and_then(|servers| self.name_servers(&servers));
        let promote = section.texts("promote").and_then(|ids| waiver::promoted(ids, self.faults));
        let capacity_allow = section.texts("capacity_allow").and_then(|hosts| waiver::hosts(hosts, self.faults));
        let egress = waiver::egress(&mut section, self.faults);
        let quorum = section.count("quorum");
        let routes = section.sections("routes").and_then(|all| waiver::routes(all, self.faults));
        let waivers = section.sections("waivers").and_then(|all| waiver::waivers(all, stores, self.faults));
        section.finish(self.faults);
        Some(PreflightSettings {
            samples: samples?,
            concurrency: concurrency?,
            timeout: timeout?,
            addresses: addresses?,
            trust: trust?,
            resolver: resolver?,
            promote: promote?,
            capacity_allow: capacity_allow?,
            egress: egress?,
            quorum,
            routes: routes?,
            waivers: waivers?,
        })
    }

    fn name_servers(&mut self, servers: &[Taken<String>]) -> Option<ResolverSettings> {
        for server in servers {
            if let Err(rule) = ResolverSettings::parse([server.value.as_str()]) {
                self.faults.add(server.line, &server.path, format!("{rule} {}", found(&server.value)));
            }
        }
        ResolverSettings::parse(servers.iter().map(|server| server.value.as_str())).ok()
    }

    fn monitor(&mut self, mut section: Section) -> Option<MonitorSchedule> {
        let interval = section.duration("interval");
        let jitter_percent = section.count("jitter_percent");
        let samples = section.count("samples");
        let concurrency = section.count("concurrency");
        let per_host = section.count("per_host");
        let history = section.count("history");
        let history_age = section.duration("history_age");
        // Its words are checked by its shape.
        let every_check = section.text("check_series").is_some_and(|word| word.value == "every");
        let enumerate_every = section.duration("enumerate_every");
        let canary_interval = section.duration("canary_interval");
        let discovered = section.text("discovered").map(|word| word.value == "watch");
        section.finish(self.faults);
        Some(MonitorSchedule {
            interval: interval?,
            jitter_percent: jitter_percent?,
            samples: samples?,
            concurrency: concurrency?,
            per_host: per_host?,
            history: history?,
            history_age: history_age?,
            every_check,
            enumerate_every: enumerate_every?,
            canary_interval: canary_interval?,
            watch_discovered: discovered?,
        })
    }
}

/// The name of a caller, 64 characters at most; see [`access::is_name`].
pub(crate) fn caller_name(text: &str) -> Result<&str, String> {
    if text.chars().count() <= 64 && access::is_name(text) {
        Ok(text)
    } else {
        Err("must be 1 to 64 letters, digits, spaces and signs such as .-_@, without space around them".to_owned())
    }
}

/// Makes a newtype's `parse` report its rule alone: the key path stands for the member.
pub(super) fn rule<T>(parse: fn(&str) -> Result<T, Invalid>) -> impl FnOnce(&str) -> Result<T, String> {
    move |text| parse(text).map_err(|error| error.rule.to_owned())
}

/// KMS's model takes any word for an id, and gives out none of another form than this: a name or an ARN there is a key store
/// that is never found.
fn key_store_id(text: &str) -> Result<CustomKeyStoreId, String> {
    let id = rule(CustomKeyStoreId::parse)(text)?;
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let fits = text.strip_prefix("cks-").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(is_digit));
    if fits {
        Ok(id)
    } else {
        Err("must be a CustomKeyStoreId: cks- and hexadecimal digits, as KMS gives it".to_owned())
    }
}

/// What SimulatePrincipalPolicy takes: a user or a role, not the session that a role is assumed in.
pub(super) fn iam_identity(text: &str) -> Result<String, String> {
    let rule = "must be the ARN of an IAM user or role, such as arn:aws:iam::111122223333:role/xks-preflight";
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let fits = match parts.as_slice() {
        ["arn", _, "iam", "", account, identity] => {
            AccountId::parse(account).is_ok() && (identity.starts_with("role/") || identity.starts_with("user/"))
        }
        _ => false,
    };
    if fits && text.len() <= 2_048 { Ok(text.to_owned()) } else { Err(rule.to_owned()) }
}

pub(super) fn endpoint_url(text: &str) -> Result<String, String> {
    let rule = "must be https://HOST[:PORT], or http:// with a loopback address: requests to KMS may hold a secret";
    let uri: http::Uri = text.parse().map_err(|_| rule.to_owned())?;
    let host = uri.host().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    let loopback = address.map_or(host == "localhost", |address| address.is_loopback());
    let bare = matches!(uri.path(), "" | "/") && uri.query().is_none() && !text.contains(['@', '#']);
    match uri.scheme_str() {
        Some("https") if bare && !host.is_empty() => Ok(text.to_owned()),
        Some("http") if bare && loopback => Ok(text.to_owned()),
        _ => Err(rule.to_owned()),
    }
}

/// Reports every value that came before; tells whether there was none.
pub(super) fn all_different<T: Ord + Clone>(items: &[Taken<T>], faults: &mut Collector) -> bool {
    let mut seen = BTreeSet::new();
    let mut different = true;
    for item in items {
        if !seen.insert(&item.value) {
            faults.add(item.line, &item.path, "is there twice");
            different = false;
        }
    }
    different
}
