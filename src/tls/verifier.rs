//! Which clients the server accepts: certificates of the agencies' authority, each of one agency, and not revoked.

use std::collections::HashSet;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme};

use super::name;

/// Accepts the certificates of agencies.
#[derive(Debug)]
pub struct AgencyVerifier {
    /// Checks the chain to the authority, the purpose, and the time.
    chain: Arc<dyn ClientCertVerifier>,
    /// Serial numbers without leading zeros.
    revoked: HashSet<Vec<u8>>,
}

impl AgencyVerifier {
    /// Accepts what `chain` accepts, except certificates that are not of an agency, or whose number is in `revoked`.
    pub fn new(chain: Arc<dyn ClientCertVerifier>, revoked: HashSet<Vec<u8>>) -> Self {
        Self { chain, revoked }
    }

    fn is_revoked(&self, certificate: &CertificateDer<'_>) -> bool {
        name::serial(certificate).is_none_or(|serial| self.revoked.contains(&serial))
    }
}

impl ClientCertVerifier for AgencyVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(certificate, intermediates, now)?;
        name::agency(certificate).map_err(|why| CertificateError::Other(OtherError(Arc::new(why))))?;
        if self.is_revoked(certificate) {
            return Err(CertificateError::Revoked.into());
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
