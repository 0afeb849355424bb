//! Certificates for development and tests: one authority, which signs the certificates of a server and of its agencies.
//!
//! A separate crate, so that neither the server nor the client is built with the code that signs. Used by the program
//! `certs` and by the tests. Knows nothing of the lottery but the name of an agency in a certificate.
//!
//! # Modules, from the bottom up
//!
//! | module | owns |
//! |---|---|
//! | this one | keys and certificates, in memory |
//! | `folder` | the files of `make certs` |

#![forbid(unsafe_code)]

mod folder;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber, string::Ia5String,
};
use time::{Duration, OffsetDateTime};

pub use folder::{Error, Order, write};
pub use rcgen::Error as Defect;

/// The subject alternative name that makes a certificate one of an agency, without its number.
pub const AGENCY: &str = "loteria:agencia:";

/// The days of a certificate, counted from today: negative ones are in the past.
#[derive(Debug, Clone, Copy)]
pub struct Days {
    /// The first day.
    pub from: i64,
    /// The day on which it expires.
    pub until: i64,
}

impl Days {
    /// From yesterday, for clocks that differ, to `days` from now.
    pub fn next(days: u32) -> Self {
        Self { from: -1, until: days.into() }
    }
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate, in PEM.
    pub certificate: String,
    /// The key, in PEM.
    pub key: String,
    /// The serial number, in hexadecimal digits: a line for TLS_REVOKED.
    pub serial: String,
}

/// A name that a certificate proves.
#[derive(Debug, Clone)]
pub enum Name {
    /// A host name or an address.
    Host(String),
    /// A URI.
    Uri(String),
}

impl Name {
    /// The name of an agency.
    pub fn agency(number: u32) -> Self {
        Self::Uri(format!("{AGENCY}{number}"))
    }
}

/// Which side may use a certificate.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    /// The server.
    Server,
    /// A client.
    Client,
}

/// A certificate authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A new one. Two authorities may have the same `name`; their keys differ.
    ///
    /// # Errors
    /// [`Defect`] if the key cannot be made.
    pub fn new(name: &str, days: Days) -> Result<Self, Defect> {
        let mut params = dated(name, days)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    /// Its own certificate, in PEM.
    pub fn certificate(&self) -> String {
        self.0.pem()
    }

    /// Its key, in PEM.
    pub fn key(&self) -> String {
        self.0.key().serialize_pem()
    }

    /// Signs a certificate for a new key.
    ///
    /// # Errors
    /// [`Defect`] if a name has characters that no certificate may have.
    pub fn issue(&self, subject: &str, names: &[Name], purpose: Purpose, days: Days) -> Result<Issued, Defect> {
        let key = KeyPair::generate()?;
        let serial = serial(&key);
        let mut params = dated(subject, days)?;
        params.subject_alt_names = names.iter().map(alternative).collect::<Result<_, _>>()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match purpose {
            Purpose::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Purpose::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let certificate = params.signed_by(&key, &self.0)?.pem();
        let serial = serial.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Issued { certificate, key: key.serialize_pem(), serial })
    }

    /// The certificate of a server with these names and addresses.
    ///
    /// # Errors
    /// As [`Authority::issue`].
    pub fn server(&self, names: &[&str], days: Days) -> Result<Issued, Defect> {
        let hosts: Vec<_> = names.iter().map(|&name| Name::Host(name.to_owned())).collect();
        self.issue(names.first().unwrap_or(&"server"), &hosts, Purpose::Server, days)
    }

    /// The certificate of an agency.
    ///
    /// # Errors
    /// As [`Authority::issue`].
    pub fn agency(&self, number: u32, days: Days) -> Result<Issued, Defect> {
        self.issue(&format!("agencia {number}"), &[Name::agency(number)], Purpose::Client, days)
    }
}

fn dated(subject: &str, days: Days) -> Result<CertificateParams, Defect> {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, subject);
    params.not_before = now + Duration::days(days.from);
    params.not_after = now + Duration::days(days.until);
    Ok(params)
}

fn alternative(name: &Name) -> Result<SanType, Defect> {
    Ok(match name {
        Name::Host(host) => match host.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(Ia5String::try_from(host.as_str())?),
        },
        Name::Uri(uri) => SanType::URI(Ia5String::try_from(uri.as_str())?),
    })
}

/// A positive number of 16 bytes that no other key has.
fn serial(key: &KeyPair) -> Vec<u8> {
    // The first byte of a public key is the same for all.
    let mut serial = key.public_key_raw()[1..17].to_vec();
    serial[0] = serial[0] & 0x7f | 0x40;
    serial
}
