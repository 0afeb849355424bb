//! The settings of one program, still as text: environment beats file, file beats default.
//!
//! Owns where a value comes from. Used by the settings of both programs. Knows no key.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::file;
use crate::tls::File;

/// The keys of a settings file and their values.
pub(super) type Keys = BTreeMap<String, String>;

/// The differences between the settings of the two programs.
pub(super) struct Source {
    /// The file that is read if the command line names none.
    pub(super) default_file: &'static str,
    /// Reads the text of a file. The error is the position and the defect.
    pub(super) parse: fn(&str) -> Result<Keys, String>,
    /// The environment variable of a key.
    pub(super) variable: fn(&str) -> String,
}

/// The content of the file, and access to the environment.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) file: Keys,
    pub(super) path: PathBuf,
    pub(super) variable: fn(&str) -> String,
}

impl Settings {
    /// Reads the file `named`. Without a name, reads the default file, which may be missing. `stop` is readable after a
    /// request to stop.
    ///
    /// # Errors
    /// As [`file::read`]; [`Error::Form`] if the file cannot be parsed.
    pub(super) fn load(named: Option<&Path>, stop: Option<BorrowedFd<'_>>, source: &Source) -> Result<Self, Error> {
        let path = named.unwrap_or(Path::new(source.default_file)).to_owned();
        let text = match file::read(&path, stop) {
            Ok(text) => Some(text),
            Err(Error::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound && named.is_none() => {
                None
            }
            Err(error) => return Err(error),
        };
        let file = match text.map(|text| (source.parse)(&text)) {
            None => Keys::new(),
            Some(Ok(keys)) => keys,
            Some(Err(defect)) => return Err(Error::Form { path, defect }),
        };
        Ok(Self { file, path, variable: source.variable })
    }

    /// `key` as read by `parse`; `None` if it is not set.
    ///
    /// # Errors
    /// [`Error::Value`] if `parse` does not accept the value.
    pub(super) fn optional<T>(
        &self,
        key: &str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let Some((value, origin)) = self.find(key) else { return Ok(None) };
        value.to_str().and_then(parse).map(Some).ok_or_else(|| Error::value(key, &value, allowed, origin))
    }

    /// `key` as read by `parse`; `default` if it is not set.
    ///
    /// # Errors
    /// As [`Settings::optional`].
    pub(super) fn get<T>(
        &self,
        key: &str,
        default: T,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, Error> {
        Ok(self.optional(key, allowed, parse)?.unwrap_or(default))
    }

    /// `key` as read by `parse`, for a key without default.
    ///
    /// # Errors
    /// [`Error::Missing`] if it is not set; otherwise as [`Settings::optional`].
    pub(super) fn required<T>(&self, key: &str, allowed: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Error> {
        self.optional(key, allowed, parse)?.ok_or_else(|| Error::Missing {
            key: key.to_owned(),
            variable: (self.variable)(key),
            allowed: allowed.to_owned(),
        })
    }

    /// The file that `key` names; `None` if it is not set.
    ///
    /// # Errors
    /// [`Error::Value`] for an empty path.
    pub(super) fn file(&self, key: &'static str) -> Result<Option<File>, Error> {
        self.optional(key, "a path", |text| (!text.is_empty()).then(|| File { key, path: text.into() }))
    }

    /// The file that `key` must name, because of `why`.
    ///
    /// # Errors
    /// [`Error::Missing`] if it is not set; [`Error::Value`] for an empty path.
    pub(super) fn required_file(&self, key: &'static str, why: &str) -> Result<File, Error> {
        let allowed = format!("a path, because {why}");
        self.required(key, &allowed, |text| (!text.is_empty()).then(|| File { key, path: text.into() }))
    }

    /// The value of `key` and its origin. An empty variable counts as unset.
    fn find(&self, key: &str) -> Option<(OsString, String)> {
        let variable = (self.variable)(key);
        match env::var_os(&variable).filter(|value| !value.is_empty()) {
            Some(value) => Some((value, format!("variable {variable}"))),
            None => self.file.get(key).map(|value| (value.into(), self.path.display().to_string())),
        }
    }
}

/// For tests of the two programs: which keys they ask for.
#[cfg(test)]
pub(super) mod asked {
    use super::{Keys, Settings};
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    thread_local!(static ASKED: RefCell<BTreeSet<String>> = RefCell::default());

    /// The keys that `read` asks for, from a file that sets only `file`.
    pub(in crate::config) fn keys<T>(file: Keys, read: impl FnOnce(&Settings) -> T) -> BTreeSet<String> {
        let variable = |key: &str| {
            ASKED.with_borrow_mut(|asked| asked.insert(key.to_owned()));
            format!("UNSET_{key}")
        };
        read(&Settings { file, path: "f".into(), variable });
        ASKED.take()
    }
}
