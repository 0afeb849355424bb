//! The files of TLS: certificates, keys and serial numbers.
//!
//! Owns how they are read. Every error names the key of the setting, the path and the defect.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use nix::fcntl::OFlag;
use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Most bytes of a file: room for 400,000 revoked serial numbers.
const BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Most digits of a serial number: RFC 5280 allows 20 bytes.
const DIGITS_MAX: usize = 40;

/// A file that a setting names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The key of the setting.
    pub key: &'static str,
    /// The path.
    pub path: PathBuf,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {path}: {defect}", path = path.display())]
pub struct Error {
    key: &'static str,
    path: PathBuf,
    defect: String,
}

impl File {
    /// This file has a defect.
    pub(super) fn wrong(&self, defect: impl ToString) -> Error {
        Error { key: self.key, path: self.path.clone(), defect: defect.to_string() }
    }

    /// `certificate` and this key, which are well formed, cannot be used together.
    pub(super) fn wrong_pair(&self, certificate: &Self, e: &rustls::Error) -> Error {
        match e {
            rustls::Error::InconsistentKeys(_) => {
                self.wrong(format!("not the key of {} {}", certificate.key, certificate.path.display()))
            }
            e => self.wrong(e),
        }
    }

    /// Its bytes. A FIFO or a device is refused: reading it may never end.
    fn read(&self) -> Result<Vec<u8>, Error> {
        let wrong = |e: io::Error| self.wrong(e);
        let options = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = OpenOptions::new().read(true).custom_flags(options.bits()).open(&self.path).map_err(wrong)?;
        if !file.metadata().map_err(wrong)?.is_file() {
            return Err(self.wrong("not a regular file"));
        }
        let mut bytes = Vec::new();
        file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(wrong)?;
        if bytes.len() as u64 > BYTES_MAX {
            return Err(self.wrong(format!("larger than {BYTES_MAX} bytes")));
        }
        Ok(bytes)
    }

    /// The certificates in it, at least one.
    ///
    /// # Errors
    /// [`Error`] if it cannot be read, is damaged, or has no certificate.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.read()?).collect();
        match found {
            Ok(found) if found.is_empty() => Err(self.wrong("no certificate in PEM form")),
            Ok(found) => Ok(found),
            Err(e) => Err(self.wrong(damaged(&e))),
        }
    }

    /// The private key in it.
    ///
    /// # Errors
    /// [`Error`] if it cannot be read, is damaged, or has no key.
    pub(super) fn private_key(&self) -> Result<PrivateKeyDer<'static>, Error> {
        PrivateKeyDer::from_pem_slice(&self.read()?).map_err(|e| match e {
            pem::Error::NoItemsFound => self.wrong("no unencrypted private key in PEM form"),
            e => self.wrong(damaged(&e)),
        })
    }

    /// The authorities in it.
    ///
    /// # Errors
    /// As [`File::certificates`]; also if one of the certificates cannot be an authority.
    pub(super) fn authorities(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            roots.add(certificate).map_err(|e| self.wrong(format!("a certificate in it is no authority: {e}")))?;
        }
        Ok(roots)
    }

    /// The serial numbers in it: hexadecimal digits, with or without colons, one number a line. `#` begins a comment.
    ///
    /// # Errors
    /// [`Error`] if it cannot be read or a line is not a number.
    pub(super) fn serials(&self) -> Result<HashSet<Vec<u8>>, Error> {
        let text = String::from_utf8(self.read()?).map_err(|e| self.wrong(e.utf8_error()))?;
        let mut serials = HashSet::new();
        for (number, line) in (1..).zip(text.lines()) {
            let digits = line.split('#').next().unwrap_or_default().trim();
            if !digits.is_empty() {
                let not_a_number = || self.wrong(format!("line {number} is not a serial number in hexadecimal digits"));
                serials.insert(serial(digits).ok_or_else(not_a_number)?);
            }
        }
        Ok(serials)
    }
}

fn damaged(e: &pem::Error) -> String {
    format!("damaged: {e}")
}

/// The bytes of a serial number, without leading zeros.
fn serial(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|&c| c != ':')
        .map(|c| Some(u8::try_from(c.to_digit(16)?).expect("below 16")))
        .collect::<Option<_>>()?;
    let digits = &digits[digits.iter().take_while(|&&digit| digit == 0).count()..];
    let is_number = text.starts_with(|c: char| c != ':') && digits.len() <= DIGITS_MAX;
    is_number
        .then(|| digits.rchunks(2).rev().map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(text: &[u8]) -> (tempfile::NamedTempFile, File) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        let path = file.path().to_owned();
        (file, File { key: "K", path })
    }

    #[test]
    fn serial_numbers_have_one_form() {
        for text in ["0a:bc", "ABC", "00:00:0A:BC", "abc"] {
            assert_eq!(serial(text), Some(vec![0x0a, 0xbc]), "{text}");
        }
        for text in ["", ":", "0x12", "1 2", "-1", &"1".repeat(DIGITS_MAX + 1)] {
            assert_eq!(serial(text), None, "{text}");
        }
    }

    #[test]
    fn revoked_numbers_have_comments_and_blank_lines() {
        let (_keep, revoked) = file(b"# lost\n0A:0B # agency 2\r\n\n  ff  \n");
        assert_eq!(revoked.serials().unwrap(), HashSet::from([vec![0x0a, 0x0b], vec![0xff]]));
        let (_keep, revoked) = file(b"# fine\nagency 2\n");
        assert!(revoked.serials().unwrap_err().to_string().contains("line 2 is not a serial number"));
    }

    #[test]
    fn an_error_names_key_path_and_defect() {
        let missing = File { key: "TLS_KEY", path: "/no/such/file".into() };
        assert!(missing.private_key().unwrap_err().to_string().starts_with("TLS_KEY: /no/such/file: No such file"));
        let folder = File { key: "K", path: "/tmp".into() };
        assert!(folder.certificates().unwrap_err().to_string().ends_with("/tmp: not a regular file"));
        let (_keep, empty) = file(b"");
        assert!(empty.certificates().unwrap_err().to_string().ends_with("no certificate in PEM form"));
        assert!(empty.private_key().unwrap_err().to_string().ends_with("no unencrypted private key in PEM form"));
        let (_keep, torn) = file(b"-----BEGIN CERTIFICATE-----\nMIIB\n");
        assert!(torn.certificates().unwrap_err().to_string().contains("damaged: "));
        let (_keep, junk) = file(b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
        assert!(junk.authorities().unwrap_err().to_string().contains("is no authority"));
    }
}
