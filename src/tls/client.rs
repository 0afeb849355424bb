//! The agency's side: its files, its connections, and why a handshake failed.

use std::sync::Arc;

use rustls::client::{ClientConnection, Resumption};
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, ClientConfig, version};

use super::file::{Error, File};
use super::name;
use super::stream::{Broken, Stream, provider};
use crate::bet::AgencyId;

/// The name of a server in its certificate.
pub type Name = ServerName<'static>;

/// The agency's files.
#[derive(Debug, Clone)]
pub struct Files {
    /// The authorities that sign the server's certificate.
    pub ca: File,
    /// The agency's certificate, and those between it and its authority.
    pub certificate: File,
    /// Its key.
    pub key: File,
    /// The name that the server's certificate must have.
    pub server_name: Name,
}

/// Opens TLS connections to one server.
#[derive(Debug, Clone)]
pub struct Connector {
    config: Arc<ClientConfig>,
    server_name: Name,
}

impl Connector {
    /// Reads the files of `agency`.
    ///
    /// # Errors
    /// [`Error`] for the first file that cannot be used, and for a certificate that is not of this agency.
    pub fn load(files: &Files, agency: AgencyId) -> Result<Self, Error> {
        let authorities = files.ca.authorities()?;
        let (certificates, key) = (files.certificate.certificates()?, files.key.private_key()?);
        match name::agency(&certificates[0]) {
            Ok(named) if named == agency => {}
            Ok(named) => return Err(files.certificate.wrong(format!("it is of agency {named}, and id is {agency}"))),
            Err(why) => return Err(files.certificate.wrong(why)),
        }
        #[allow(unused_mut, reason = "only a debug build changes it")]
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&version::TLS13])
            .map_err(|e| files.ca.wrong(e))?
            .with_root_certificates(authorities)
            .with_client_auth_cert(certificates, key)
            .map_err(|e| files.key.wrong_pair(&files.certificate, &e))?;
        config.resumption = Resumption::disabled();
        #[cfg(debug_assertions)]
        {
            config.key_log = Arc::new(rustls::KeyLogFile::new());
        }
        Ok(Self { config: Arc::new(config), server_name: files.server_name.clone() })
    }

    /// The agency's side of a new connection.
    ///
    /// # Errors
    /// [`Broken::Tls`] if rustls does not accept its own settings.
    pub fn connect(&self) -> Result<Stream, Broken> {
        let tls = ClientConnection::new(self.config.clone(), self.server_name.clone()).map_err(Broken::Tls)?;
        Ok(Stream::new(tls.into()))
    }
}

/// The name of a server from the settings: a DNS name or an address without brackets.
pub fn server_name(text: &str) -> Option<Name> {
    ServerName::try_from(text.to_owned()).ok()
}

/// Why TLS with the server failed, and the next step for the operator.
pub fn reason(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(defect) => {
            format!("the server's certificate was refused: {}", certificate(defect))
        }
        rustls::Error::AlertReceived(alert) => format!("the server refused: {}", refusal(*alert)),
        other => other.to_string(),
    }
}

fn certificate(defect: &CertificateError) -> String {
    use CertificateError::{
        BadSignature, Expired, ExpiredContext, InvalidPurpose, InvalidPurposeContext, NotValidForName,
        NotValidForNameContext, NotValidYet, NotValidYetContext, UnknownIssuer,
    };
    match defect {
        Expired | ExpiredContext { .. } => "it has expired; the server needs a new one".to_owned(),
        NotValidYet | NotValidYetContext { .. } => "it is not valid yet; check the clocks".to_owned(),
        UnknownIssuer | BadSignature => "tls.ca has not signed it; check tls.ca and server.address".to_owned(),
        InvalidPurpose | InvalidPurposeContext { .. } => "it is not for servers; check server.address".to_owned(),
        NotValidForName => "it has another name; set tls.serverName".to_owned(),
        NotValidForNameContext { expected, presented } => format!(
            "it is not for {}, but for {}; set tls.serverName to one of its names",
            expected.to_str(),
            presented.join(", ")
        ),
        other => other.to_string(),
    }
}

/// Alerts name no more than the kind of a defect: the server's log has the exact one.
fn refusal(alert: AlertDescription) -> String {
    use AlertDescription as Alert;
    match alert {
        Alert::CertificateExpired => {
            "the agency's certificate has expired or is not valid yet; renew tls.certificate".to_owned()
        }
        Alert::CertificateRevoked => "the agency's certificate is revoked; renew tls.certificate".to_owned(),
        Alert::UnknownCA | Alert::DecryptError => {
            "its TLS_AGENCY_CA has not signed the agency's certificate; check tls.certificate".to_owned()
        }
        Alert::CertificateRequired => "it got no certificate; set tls.certificate".to_owned(),
        Alert::CertificateUnknown | Alert::BadCertificate | Alert::UnsupportedCertificate | Alert::AccessDenied => {
            "tls.certificate is not that of an agency; its log says why".to_owned()
        }
        Alert::ProtocolVersion => "it does not speak TLS 1.3".to_owned(),
        other => format!("{other:?}"),
    }
}
