//! What a server sends along with its certificate: the right chain, and the wrong ones.

use rustls::pki_types::CertificateDer;

use super::{Hierarchy, sha1};

/// How a leaf is signed and what is sent along with it, in the order of the handshake message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Chain {
    /// Leaf and intermediate: right.
    #[default]
    Complete,
    /// Leaf, intermediate, and an unrelated certificate.
    Surplus,
    /// Leaf, intermediate, and another intermediate whose key has 1024 bits.
    WeakKey,
    /// Leaf, intermediate, and ten copies of an unrelated certificate.
    Long,
    /// Leaf, intermediate, and so many copies of an unrelated certificate that the message exceeds 64 KiB.
    Huge,
    /// The leaf alone.
    MissingIntermediate,
    /// Leaf and root, without what is between them.
    RootInsteadOfIntermediate,
    /// Leaf and an intermediate that expired a day before the sandbox's now.
    ExpiredIntermediate,
    /// Leaf and an intermediate that is valid from a day after the sandbox's now.
    EarlyIntermediate,
    /// Leaf and bytes that are no certificate.
    GarbageIntermediate,
    /// Root, intermediate, leaf: the wrong way round.
    Reversed,
    /// Leaf, root, intermediate.
    Unordered,
    /// Leaf and intermediate of a hierarchy that [`Pki::root_pem`](super::Pki::root_pem) knows nothing of.
    UnknownRoot,
    /// The same, where the hierarchy bears the names of the right one.
    Forged,
    /// The leaf alone, signed by its own key.
    SelfSigned,
    /// Leaf and intermediate, where the leaf claims a SHA-1 signature.
    Sha1Signature,
    /// Leaf and intermediate, where the intermediate claims a SHA-1 signature.
    Sha1Intermediate,
}

/// A server's certificate message with `end` as its leaf, which `own` has signed.
pub(super) fn served(
    chain: Chain,
    end: CertificateDer<'static>,
    own: &Hierarchy,
    other: &Hierarchy,
) -> Result<Vec<CertificateDer<'static>>, rcgen::Error> {
    let (root, intermediate) = (own.root.clone(), own.intermediate.clone());
    let with_copies = |copies: usize| {
        let surplus = std::iter::repeat_n(other.intermediate.clone(), copies);
        [end.clone(), own.intermediate.clone()].into_iter().chain(surplus).collect()
    };
    Ok(match chain {
        Chain::Complete | Chain::UnknownRoot | Chain::Forged => vec![end, intermediate],
        Chain::Surplus => with_copies(1),
        Chain::WeakKey => vec![end, intermediate, own.weak_intermediate.clone()],
        Chain::Long => with_copies(10),
        Chain::Huge => with_copies(1 + 64 * 1024 / other.intermediate.len()),
        Chain::MissingIntermediate | Chain::SelfSigned => vec![end],
        Chain::RootInsteadOfIntermediate => vec![end, root],
        Chain::ExpiredIntermediate => vec![end, own.expired_intermediate.clone()],
        Chain::EarlyIntermediate => vec![end, own.early_intermediate.clone()],
        Chain::GarbageIntermediate => vec![end, CertificateDer::from(vec![0x30, 3, 1, 2, 3])],
        Chain::Reversed => vec![root, intermediate, end],
        Chain::Unordered => vec![end, root, intermediate],
        Chain::Sha1Signature => vec![sha1::relabelled(&end, own.issuer.key())?, intermediate],
        Chain::Sha1Intermediate => vec![end, sha1::relabelled(&intermediate, own.root_issuer.key())?],
    })
}
