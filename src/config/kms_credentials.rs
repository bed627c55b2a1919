//! `[[kms_credentials]]`: who may call the KMS drop-in endpoint.

use super::callers::instant;
use super::fault::found;
use super::raw::Section;
use super::resolve::{Resolver, caller_name};
use super::secret;
use crate::access::{Method, Principal};
use crate::kms_endpoint::{CredentialPolicy, KmsAccessKeyId, KmsCredential, KmsSecretAccessKey};

impl Resolver<'_> {
    pub(super) fn kms_credentials(&mut self, sections: Vec<Section>) -> Option<Vec<KmsCredential>> {
        let mut credentials: Vec<KmsCredential> = Vec::new();
        let mut whole = true;
        for mut section in sections {
            let name = section.parse("name", self.faults, |text| caller_name(text).map(str::to_owned));
            let id = section
                .parse("access_key_id", self.faults, |text| KmsAccessKeyId::parse(text).map_err(ToOwned::to_owned));
            let secret = section.section("secret").and_then(|source| {
                let (line, path) = (source.line, source.path.clone());
                let text = secret::resolve(source, self.directory, self.environment, self.faults)?;
                KmsSecretAccessKey::parse(&text).map_err(|rule| self.faults.add(line, &path, rule)).ok()
            });
            let grants = self.grants(&mut section);
            let ends = section.has("expires");
            let expires = section.parse("expires", self.faults, instant);
            let run_whole_sequence = section.flag("run_whole_sequence");
            let prove_reconnect = section.flag("prove_reconnect");
            let create = section.flag("create");
            section.finish(self.faults);
            whole &= ends == expires.is_some();
            let (Some(name), Some(id), Some(secret_access_key), Some(grants)) = (name, id, secret, grants) else {
                whole = false;
                continue;
            };
            let (Some(run_whole_sequence), Some(prove_reconnect), Some(create)) =
                (run_whole_sequence, prove_reconnect, create)
            else {
                whole = false;
                continue;
            };
            if credentials.iter().any(|other| other.principal.name == name.value) {
                self.faults.add(name.line, &name.path, format!("is there twice {}", found(&name.value)));
            }
            if let Some(other) = credentials.iter().find(|other| other.access_key_id == id.value) {
                let why = format!("is that of {:?}, too: nobody could tell who called", other.principal.name);
                self.faults.add(id.line, &id.path, why);
            }
            credentials.push(KmsCredential {
                principal: Principal { name: name.value, how: Method::KmsCredential, grants },
                access_key_id: id.value,
                secret_access_key,
                expires: expires.map(|expires| expires.value),
                policy: CredentialPolicy { run_whole_sequence, prove_reconnect, create },
            });
        }
        whole.then_some(credentials)
    }
}
