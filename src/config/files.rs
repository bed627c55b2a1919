//! Certificates and keys that the configuration names by file.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use zeroize::Zeroizing;

use super::fault::Collector;
use super::raw::Taken;
use super::secret::{bounded_file, secret_file};
use crate::listener::{Authorities, Tls};
use crate::peer::Identity;
use crate::probe::{KmsTrustList, TrustRoots};

/// The largest file of certificates, in bytes: all public roots together have a quarter of it.
const MAX_CERTIFICATE_BYTES: u64 = 1024 * 1024;

/// The roots to judge by: the public ones, or those of the files and no others. `None` if a file was faulty, which is
/// then reported.
pub(super) fn trust(directory: &Path, files: &[Taken<String>], faults: &mut Collector) -> Option<TrustRoots> {
    if files.is_empty() {
        return Some(TrustRoots::mozilla());
    }
    let mut all = Vec::new();
    let mut trust = None;
    for file in files {
        let read = public(directory, file, faults).and_then(|pem| {
            all.extend_from_slice(&pem);
            all.push(b'\n');
            // Each time all that came before: a fault is then told at the file that brought it.
            TrustRoots::laboratory(&all).map_err(|error| error.to_string())
        });
        trust = Some(reported(file, read, faults)?);
    }
    trust
}

/// The roots of this file and no others, or the public ones.
pub(super) fn roots_or_public(
    directory: &Path,
    file: Option<&Taken<String>>,
    faults: &mut Collector,
) -> Option<RootCertStore> {
    let Some(file) = file else {
        let mut public = RootCertStore::empty();
        public.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
        return Some(public);
    };
    let read = roots(directory, file, faults);
    reported(file, read, faults)
}

/// The same roots, compared with the list in this file, if one is named.
pub(super) fn compared(
    directory: &Path,
    trust: TrustRoots,
    file: Option<&Taken<String>>,
    faults: &mut Collector,
) -> Option<TrustRoots> {
    let Some(file) = file else { return Some(trust) };
    let list =
        public(directory, file, faults).and_then(|text| KmsTrustList::parse(&text).map_err(|error| error.to_string()));
    reported(file, list, faults).map(|list| trust.with_kms_list(list))
}

/// A server's chain and key, as rustls takes them: it checks that they belong together.
pub(super) fn server_tls(
    directory: &Path,
    certificate: &Taken<String>,
    key: &Taken<String>,
    client_ca: Option<&Taken<String>>,
    faults: &mut Collector,
) -> Option<Tls> {
    let chain = certificates(directory, certificate, faults);
    let chain = reported(certificate, chain, faults);
    let private = private_key(directory, key, faults);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clients = match client_ca {
        None => None,
        Some(file) => {
            let authorities = roots(directory, file, faults)
                .and_then(|roots| Authorities::new(roots, Arc::clone(&provider)).map_err(|error| error.to_string()));
            Some(Arc::new(reported(file, authorities, faults)?))
        }
    };
    let asks = clients.as_ref().map_or_else(WebPkiClientVerifier::no_client_auth, |clients| clients.verifier());
    let (chain, private) = chain.zip(private)?;
    let built = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_client_cert_verifier(asks).with_single_cert(chain, private))
        .map_err(|error| format!("does not serve: {error}"));
    reported(key, built, faults).map(|server| Tls { server: Arc::new(server), clients })
}

/// A certificate to show to others, with its key.
pub(super) fn identity(
    directory: &Path,
    certificate: &Taken<String>,
    key: &Taken<String>,
    faults: &mut Collector,
) -> Option<Identity> {
    let chain = certificates(directory, certificate, faults);
    let chain = reported(certificate, chain, faults);
    let key = private_key(directory, key, faults);
    let (chain, key) = chain.zip(key)?;
    Some(Identity { chain, key })
}

fn private_key(directory: &Path, key: &Taken<String>, faults: &mut Collector) -> Option<PrivateKeyDer<'static>> {
    let private = secret_file(&directory.join(&key.value)).and_then(|pem| {
        faults.reading.add(&key.path, &pem);
        PrivateKeyDer::from_pem_slice(&pem).map_err(|_| "holds no private key in PEM".to_owned())
    });
    reported(key, private, faults)
}

/// The authorities in a file.
pub(super) fn roots(directory: &Path, file: &Taken<String>, faults: &mut Collector) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(directory, file, faults)? {
        roots.add(certificate).map_err(|error| format!("holds a certificate that is no authority: {error}"))?;
    }
    Ok(roots)
}

/// The bytes of a file that holds no secret, noted for comparison.
fn public(directory: &Path, file: &Taken<String>, faults: &mut Collector) -> Result<Zeroizing<Vec<u8>>, String> {
    let bytes = bounded_file(&directory.join(&file.value), MAX_CERTIFICATE_BYTES)?;
    faults.reading.add(&file.path, &bytes);
    Ok(bytes)
}

fn certificates(
    directory: &Path,
    file: &Taken<String>,
    faults: &mut Collector,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = public(directory, file, faults)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) | Err(_) => Err("holds no certificates in PEM".to_owned()),
    }
}

fn reported<T>(file: &Taken<String>, read: Result<T, String>, faults: &mut Collector) -> Option<T> {
    read.map_err(|why| faults.add(file.line, &file.path, why)).ok()
}
