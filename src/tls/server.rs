//! The server's side: its files, the connections of its clients, and why a handshake failed.

use std::sync::Arc;

use rustls::server::{NoServerSessionStorage, ServerConnection, WebPkiClientVerifier};
use rustls::{AlertDescription, CertificateError, ServerConfig, version};

use super::file::{Error, File};
use super::name;
use super::stream::{Broken, Stream, provider};
use super::verifier::AgencyVerifier;
use super::wire::Wire;
use crate::bet::AgencyId;

/// The server's files.
#[derive(Debug, Clone)]
pub struct Files {
    /// The server's certificate, and those between it and its authority.
    pub certificate: File,
    /// Its key.
    pub key: File,
    /// The authorities that sign the certificates of agencies.
    pub agency_ca: File,
    /// The serial numbers of certificates that are not valid any more.
    pub revoked: Option<File>,
}

/// Accepts TLS connections of agencies. It may be used after a fork: it starts no thread, has no descriptor, and takes every
/// random number from the kernel, so no two children have the same.
#[derive(Debug, Clone)]
pub struct Acceptor(Arc<ServerConfig>);

impl Acceptor {
    /// Reads the files.
    ///
    /// # Errors
    /// [`Error`] for the first file that cannot be used.
    pub fn load(files: &Files) -> Result<Self, Error> {
        let authorities = Arc::new(files.agency_ca.authorities()?);
        let chain = WebPkiClientVerifier::builder_with_provider(authorities, provider())
            .build()
            .map_err(|e| files.agency_ca.wrong(e))?;
        let revoked = files.revoked.as_ref().map(File::serials).transpose()?.unwrap_or_default();
        let (certificates, key) = (files.certificate.certificates()?, files.key.private_key()?);
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&version::TLS13])
            .map_err(|e| files.certificate.wrong(e))?
            .with_client_cert_verifier(Arc::new(AgencyVerifier::new(chain, revoked)))
            .with_single_cert(certificates, key)
            .map_err(|e| files.key.wrong_pair(&files.certificate, &e))?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self(Arc::new(config)))
    }

    /// The server's side of a new connection.
    ///
    /// # Errors
    /// [`Broken::Tls`] if rustls does not accept its own settings.
    pub fn accept(&self) -> Result<Stream, Broken> {
        let tls = ServerConnection::new(self.0.clone()).map_err(Broken::Tls)?;
        Ok(Stream::new(tls.into()))
    }
}

/// The agency that the certificate of `wire` names, once the handshake has proved it.
pub fn agency(wire: &Wire) -> Option<AgencyId> {
    name::agency(wire.certificate()?).ok()
}

/// The name of an agency in its certificate.
pub fn name_of(agency: AgencyId) -> String {
    format!("{}{agency}", name::PREFIX)
}

/// Why a client's TLS failed, for the server's log.
pub fn reason(error: &rustls::Error) -> String {
    use rustls::Error::{AlertReceived, InvalidCertificate, NoCertificatesPresented};
    match error {
        NoCertificatesPresented => "the client has no certificate".to_owned(),
        InvalidCertificate(defect) => format!("the client's certificate was refused: {}", certificate(defect)),
        AlertReceived(
            AlertDescription::UnknownCA | AlertDescription::BadCertificate | AlertDescription::DecryptError,
        ) => "the client does not trust the server's certificate, or expects another name in it".to_owned(),
        AlertReceived(AlertDescription::CertificateExpired) => {
            "the client refused the server's certificate: it has expired or is not valid yet".to_owned()
        }
        AlertReceived(alert) => format!("the client refused: {alert:?}"),
        other => other.to_string(),
    }
}

fn certificate(defect: &CertificateError) -> String {
    use CertificateError::{
        BadSignature, Expired, ExpiredContext, InvalidPurpose, InvalidPurposeContext, NotValidYet, NotValidYetContext,
        Other, Revoked, UnknownIssuer,
    };
    match defect {
        Expired | ExpiredContext { .. } => "it has expired".to_owned(),
        NotValidYet | NotValidYetContext { .. } => "it is not valid yet".to_owned(),
        UnknownIssuer | BadSignature => "TLS_AGENCY_CA has not signed it".to_owned(),
        Revoked => "it is revoked (TLS_REVOKED)".to_owned(),
        InvalidPurpose | InvalidPurposeContext { .. } => "it is not for clients".to_owned(),
        Other(why) => why.0.to_string(),
        other => other.to_string(),
    }
}
