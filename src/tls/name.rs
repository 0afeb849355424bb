//! The agency of a certificate: its only subject alternative name `URI:loteria:agencia:N`.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::bet::{AgencyId, decimal};

/// The URI of an agency, without its number.
pub const PREFIX: &str = "loteria:agencia:";

/// Why a certificate is not one of an agency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAgency {
    /// The bytes are not a certificate.
    #[error("it is damaged")]
    Damaged,
    /// No URI begins as the name of an agency.
    #[error("it has no name URI:{PREFIX}N")]
    NoName,
    /// There are several names of agencies.
    #[error("it has more than one name URI:{PREFIX}N")]
    ManyNames,
    /// The name has no number from 1 to 4294967295 in plain decimal digits.
    #[error("the number in its name URI:{PREFIX}N is not from 1 to 4294967295 without leading zeros")]
    Number,
}

/// The agency of `certificate`.
///
/// # Errors
/// [`NoAgency`] if it is not the certificate of exactly one agency.
pub fn agency(certificate: &CertificateDer<'_>) -> Result<AgencyId, NoAgency> {
    let certificate = EndEntityCert::try_from(certificate).map_err(|_| NoAgency::Damaged)?;
    agency_of(certificate.valid_uri_names())
}

/// The serial number of `certificate`, without leading zeros.
pub fn serial(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    Some(certificate.serial().iter().copied().skip_while(|&byte| byte == 0).collect())
}

fn agency_of<'a>(uris: impl Iterator<Item = &'a str>) -> Result<AgencyId, NoAgency> {
    let mut numbers = uris.filter_map(|uri| uri.strip_prefix(PREFIX));
    let number = numbers.next().ok_or(NoAgency::NoName)?;
    if numbers.next().is_some() {
        return Err(NoAgency::ManyNames);
    }
    let is_canonical = !number.starts_with('0');
    decimal(number.as_bytes()).filter(|_| is_canonical).and_then(AgencyId::new).ok_or(NoAgency::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(uris: &[&str]) -> Result<u32, NoAgency> {
        agency_of(uris.iter().copied()).map(AgencyId::get)
    }

    #[test]
    fn exactly_one_name_is_an_agency() {
        assert_eq!(of(&["loteria:agencia:1"]), Ok(1));
        assert_eq!(of(&["https://example.org", "loteria:agencia:4294967295"]), Ok(u32::MAX));
        assert_eq!(of(&["loteria:agencia:1", "loteria:agencia:2"]), Err(NoAgency::ManyNames));
        assert_eq!(of(&["loteria:agencia:1", "loteria:agencia:1"]), Err(NoAgency::ManyNames));
        for others in [&[][..], &["loteria:agency:1"], &["x:loteria:agencia:1"]] {
            assert_eq!(of(others), Err(NoAgency::NoName));
        }
    }

    #[test]
    fn the_number_is_canonical() {
        for number in ["", "0", "01", "+1", "1 ", "4294967296", "1:2", "١"] {
            assert_eq!(of(&[&format!("{PREFIX}{number}")]), Err(NoAgency::Number), "{number:?}");
        }
    }
}
