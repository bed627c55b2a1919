//! `[[perspectives]]`: other daemons that look at the same candidates, and how many of them must agree.

use std::sync::Arc;

use rustls::RootCertStore;

use super::fault::found;
use super::files;
use super::quantity;
use super::raw::Section;
use super::resolve::{Resolver, caller_name};
use super::secret;
use super::settings::PreflightSettings;
use crate::peer::{InvalidPeer, Peer};
use crate::perspective::{Perspective, Perspectives};

impl Resolver<'_> {
    /// The outer `None` means that something was faulty.
    #[expect(
        clippy::option_option,
        reason = "every resolver gives an Option, and this one resolves what may be absent"
    )]
    pub(super) fn perspectives(
        &mut self,
        sections: Vec<Section>,
        preflight: Option<&PreflightSettings>,
        preflight_line: Option<usize>,
    ) -> Option<Option<Perspectives>> {
        let mut all: Vec<Perspective> = Vec::new();
        let count = sections.len();
        for section in sections {
            let (line, path) = (section.line, section.path.clone());
            let Some(perspective) = self.perspective(section, preflight) else { continue };
            if all.iter().any(|other| other.name == perspective.name) {
                self.faults.add(line, &format!("{path}.name"), format!("is there twice {}", found(&perspective.name)));
            }
            let at = |one: &Perspective| one.peer.url().trim_end_matches('/').to_ascii_lowercase();
            if all.iter().any(|other| at(other) == at(&perspective)) {
                self.faults.add(line, &format!("{path}.url"), "is there twice: one place would count as two");
            }
            all.push(perspective);
        }
        // Without a word all of them: whoever names a place wants to know what is seen from it.
        let quorum = preflight?.quorum.unwrap_or(count);
        if quorum > count {
            let why = format!("must be at most the number of [[perspectives]], which is {count}: more can never agree");
            self.faults.add(preflight_line, "preflight.quorum", why);
        }
        (all.len() == count).then(|| (count > 0).then_some(Perspectives { all, quorum }))
    }

    fn perspective(&mut self, mut section: Section, preflight: Option<&PreflightSettings>) -> Option<Perspective> {
        let (line, path) = (section.line, section.path.clone());
        let name = section.parse("name", self.faults, |text| caller_name(text).map(str::to_owned));
        let ca_file = section.text("ca_file");
        let roots = files::roots_or_public(self.directory, ca_file.as_ref(), self.faults).map(Arc::new);
        let peer = section.parse("url", self.faults, |text| {
            // With roots that cannot be read the address is still looked at: all faults at once.
            let roots = roots.clone().unwrap_or_else(|| Arc::new(RootCertStore::empty()));
            if text.contains(['?', '#']) {
                return Err("must end with the path, without a query".to_owned());
            }
            Peer::parse(text, roots, None)
                .map(|peer| (peer, text.to_owned()))
                .map_err(|error| format!("{error}: what is asked holds a secret"))
        });
        let certificate = section.text("client_certificate_file");
        let key = section.text("client_key_file");
        let has_token = section.has("token");
        let token = section.section("token").map(|source| {
            let place = (source.line, source.path.clone());
            (place, secret::resolve(source, self.directory, self.environment, self.faults))
        });
        let timeout = section.duration("timeout");
        let faulty = section.is_faulty();
        section.finish(self.faults);
        if let Some((timeout, limit)) = timeout.zip(preflight.map(|preflight| preflight.timeout))
            && timeout >= limit
        {
            let limit = quantity::show_duration(limit);
            let why =
                format!("must be less than preflight.timeout, which is {limit}: or nobody is told who kept us waiting");
            self.faults.add(line, &format!("{path}.timeout"), why);
        }
        let secure = peer.as_ref().is_some_and(|peer| peer.value.0.is_secure());
        let identity = match (certificate, key) {
            (None, None) => None,
            (Some(certificate), Some(key)) if secure || peer.is_none() => {
                let identity = files::identity(self.directory, &certificate, &key, self.faults);
                Some(((certificate.line, certificate.path), identity))
            }
            (Some(one), Some(_)) => {
                self.faults.add(one.line, &one.path, "is of no use without https in url");
                return None;
            }
            (Some(one), None) => {
                self.faults.add(one.line, &one.path, "needs client_key_file beside it");
                return None;
            }
            (None, Some(one)) => {
                self.faults.add(one.line, &one.path, "needs client_certificate_file beside it");
                return None;
            }
        };
        if secure && identity.is_none() && !has_token && !faulty {
            let why = "needs client_certificate_file and client_key_file, or token: another daemon asks who calls";
            self.faults.add(line, &path, why);
        }
        let (mut peer, url) = peer?.value;
        if let Some(((line, path), identity)) = identity {
            let known = Peer::parse(&url, roots?, Some(identity?));
            peer = known.map_err(|error: InvalidPeer| self.faults.add(line, &path, error.to_string())).ok()?;
        }
        if let Some(((line, path), token)) = token {
            peer = peer.with_token(&token?).map_err(|error| self.faults.add(line, &path, error.to_string())).ok()?;
        }
        Some(Perspective { name: name?.value, peer, timeout: timeout? })
    }
}
