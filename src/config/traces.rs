//! `[traces]`: the collector that traces are sent to.

use std::sync::Arc;

use rustls::RootCertStore;

use super::files;
use super::raw::Section;
use super::resolve::Resolver;
use super::secret;
use crate::peer::Peer;

impl Resolver<'_> {
    /// The outer `None` means that something was faulty.
    #[expect(
        clippy::option_option,
        reason = "every resolver gives an Option, and this one resolves what may be absent"
    )]
    pub(super) fn traces(&mut self, mut section: Section) -> Option<Option<Peer>> {
        let ca_file = section.text("ca_file");
        let named = section.has("url");
        let roots = if named {
            files::roots_or_public(self.directory, ca_file.as_ref(), self.faults).map(Arc::new)
        } else {
            None
        };
        let peer = section.parse("url", self.faults, |text| {
            if text.contains(['?', '#']) {
                return Err("must end with the path, without a query".to_owned());
            }
            let roots = roots.clone().unwrap_or_else(|| Arc::new(RootCertStore::empty()));
            Peer::parse(text, roots, None).map_err(|error| error.to_string())
        });
        let token = section.section("token").map(|source| {
            let place = (source.line, source.path.clone());
            (place, secret::resolve(source, self.directory, self.environment, self.faults))
        });
        let faulty = section.is_faulty();
        section.finish(self.faults);
        if !named {
            let places = token.map(|(place, _)| place).into_iter();
            for (line, path) in places.chain(ca_file.map(|file| (file.line, file.path))).filter(|_| !faulty) {
                self.faults.add(line, &path, "needs url beside it");
            }
            return Some(None);
        }
        let mut peer = peer?.value;
        roots?;
        if let Some(((line, path), token)) = token {
            peer = peer.with_token(&token?).map_err(|error| self.faults.add(line, &path, error.to_string())).ok()?;
        }
        Some(Some(peer))
    }
}
