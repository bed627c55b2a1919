//! Who may do what, on which key stores. Pure: nothing here reads a header, a certificate or a clock.
//!
//! # How it works
//!
//! A face finds out who is calling, by one of the [`Method`]s, and so has a [`Principal`]: a name for the journal and
//! its [`Grant`]s. A grant gives a [`Role`] within a [`Scope`] of key stores. A role is a set of [`Permission`]s, not a
//! rank: an approver may not change anything, an operator approves nothing. Whatever is asked for needs one permission,
//! and [`Principal::may`] answers, with everything in the refusal that the refused one needs in order to ask for more.
//!
//! # What can go wrong
//!
//! Whatever no grant allows is refused: an empty list of grants allows nothing, an empty scope covers nothing, and a
//! key store whose name is not known yet matches no pattern of names.

mod certificate;
mod principal;
mod role;
mod scope;
#[cfg(test)]
mod tests;
mod token;

pub use certificate::{CertificateName, CertificateRefused, ClientCertificate, KnownCertificate, identify_certificate};
pub use principal::{Forbidden, Grant, KeyStoreName, Method, Principal, is_name};
pub use role::{Permission, Role};
pub use scope::{InvalidPattern, Pattern, Scope};
pub use token::{InvalidTokenHash, KnownToken, Token, TokenHash, TokenRefused, identify, identify_hash};
