//! `[journal]`: one of two databases, and the keys that belong to either.

use secrecy::SecretString;

use super::files;
use super::raw::Section;
use super::resolve::Resolver;
use super::secret::{self, SealingKey};
use super::settings::{JournalSettings, PostgresSettings};
use crate::journal::PostgresAddress;

impl Resolver<'_> {
    pub(super) fn journal(&mut self, mut section: Section) -> Option<JournalSettings> {
        let path = self.path(&mut section, "path");
        let sealing_key = section.section("sealing_key").and_then(|source| {
            let (line, path) = (source.line, source.path.clone());
            let text = secret::resolve(source, self.directory, self.environment, self.faults)?;
            SealingKey::parse(&text).map_err(|rule| self.faults.add(line, &path, rule)).ok()
        });
        let postgres = self.postgres(&mut section);
        let lease = section.duration("lease");
        section.finish(self.faults);
        Some(JournalSettings { path: path?, postgres: postgres?, lease: lease?, sealing_key })
    }

    /// The outer `None` means that something was faulty.
    #[expect(
        clippy::option_option,
        reason = "every resolver gives an Option, and this one resolves what may be absent"
    )]
    fn postgres(&mut self, section: &mut Section) -> Option<Option<PostgresSettings>> {
        let password = section.section("postgres_password").map(|source| {
            let place = (source.line, source.path.clone());
            (place, secret::resolve(source, self.directory, self.environment, self.faults))
        });
        let ca_file = section.text("postgres_ca_file");
        if !section.has("postgres_url") {
            let places = password.map(|(place, _)| place).into_iter();
            for (line, path) in places.chain(ca_file.map(|file| (file.line, file.path))) {
                self.faults.add(line, &path, "needs postgres_url beside it");
            }
            return Some(None);
        }
        let address = section.parse("postgres_url", self.faults, |url| {
            PostgresAddress::parse(url).map_err(|invalid| invalid.to_string())
        });
        let clear = address.as_ref().is_some_and(|address| !address.value.uses_tls());
        let roots = match ca_file {
            Some(file) if clear => {
                let why = "is of no use on this machine without ?sslmode=require in postgres_url";
                self.faults.add(file.line, &file.path, why);
                None
            }
            file => files::roots_or_public(self.directory, file.as_ref(), self.faults),
        };
        let mut address = address?.value;
        if let Some((_, password)) = password {
            address = address.with_password(&SecretString::from(password?.as_str().to_owned()));
        }
        Some(Some(PostgresSettings { address, roots: roots? }))
    }
}
