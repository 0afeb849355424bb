//! The files of `make certs`: the authority, the server and the agencies, in one folder.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::{Authority, Days, Defect, Issued};

/// The certificate of the authority.
const CA: &str = "ca";
/// Days for which the authority is valid after its last certificate.
const LONGER: u32 = 30;

/// Which certificates to make.
#[derive(Debug)]
pub struct Order<'a> {
    /// The folder; it is made if it is missing.
    pub out: &'a Path,
    /// The agencies 1 to this number get a certificate.
    pub agencies: u32,
    /// Days until the certificates expire.
    pub days: u32,
    /// Names and addresses of the server.
    pub names: &'a [String],
    /// Whether an existing authority is replaced.
    pub replace: bool,
}

/// Why no certificates were made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder has an authority.
    #[error("{path} exists: the certificates that it has signed would be worthless; --replace makes all of them again", path = .0.display())]
    Exists(PathBuf),
    /// A file cannot be written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A name or an address is not allowed.
    #[error("cannot make a certificate: {0}")]
    Defect(#[from] Defect),
}

/// Makes all certificates, then writes them.
///
/// # Errors
/// [`Error::Exists`] if the folder has an authority that the order does not replace; [`Error::Defect`] if a name cannot be in
/// a certificate; [`Error::File`] if a file cannot be written.
pub fn write(order: &Order<'_>) -> Result<(), Error> {
    let present = ["pem", "key"].map(|ending| file(order.out, CA, ending)).into_iter().find(|path| path.exists());
    if let Some(path) = present.filter(|_| !order.replace) {
        return Err(Error::Exists(path));
    }
    let days = Days::next(order.days);
    let authority = Authority::new("Loteria Nacional: development", Days::next(order.days.saturating_add(LONGER)))?;
    let names: Vec<_> = order.names.iter().map(String::as_str).collect();
    let mut issued = vec![("server".to_owned(), authority.server(&names, days)?)];
    for agency in 1..=order.agencies {
        issued.push((format!("agency-{agency}"), authority.agency(agency, days)?));
    }
    fs::create_dir_all(order.out).map_err(|source| Error::File { path: order.out.to_owned(), source })?;
    let own = Issued { certificate: authority.certificate(), key: authority.key(), serial: String::new() };
    put(order.out, CA, &own)?;
    issued.iter().try_for_each(|(name, issued)| put(order.out, name, issued))
}

fn file(folder: &Path, name: &str, ending: &str) -> PathBuf {
    folder.join(format!("{name}.{ending}"))
}

fn put(folder: &Path, name: &str, issued: &Issued) -> Result<(), Error> {
    for (ending, text, mode) in [("key", &issued.key, 0o600), ("pem", &issued.certificate, 0o644)] {
        let path = file(folder, name, ending);
        replace(&path, text, mode).map_err(|source| Error::File { path, source })?;
    }
    Ok(())
}

/// Writes a new file: an old one would keep its mode.
fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn order(out: &Path, replace: bool) -> Order<'_> {
        Order { out, agencies: 2, days: 1, names: &[], replace }
    }

    #[test]
    fn keys_are_readable_for_their_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        write(&order(folder.path(), false)).unwrap();
        for name in [CA, "server", "agency-1", "agency-2"] {
            let mode = |ending| fs::metadata(file(folder.path(), name, ending)).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode("key"), 0o600, "{name}");
            assert!(mode("pem") & 0o400 != 0, "{name}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 8);
    }

    #[test]
    fn an_authority_is_replaced_only_on_request() {
        let folder = tempfile::tempdir().unwrap();
        let ca = || fs::read(file(folder.path(), CA, "pem")).unwrap();
        write(&order(folder.path(), false)).unwrap();
        let first = ca();
        assert!(matches!(write(&order(folder.path(), false)), Err(Error::Exists(_))));
        assert_eq!(ca(), first);
        write(&order(folder.path(), true)).unwrap();
        assert_ne!(ca(), first);
    }

    #[test]
    fn nothing_is_written_for_a_name_that_is_not_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("new");
        let names = ["ñandú".to_owned()];
        assert!(matches!(write(&Order { names: &names, ..order(&out, false) }), Err(Error::Defect(_))));
        assert!(!out.exists());
    }
}
