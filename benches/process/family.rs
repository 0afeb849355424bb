//! The children of a process.

use std::fs;

use crate::Result;

/// The pids of the children of `parent`, which has one thread. A child that is not reaped yet is one of them.
pub fn children_of(parent: u32) -> Result<Vec<u32>> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    Ok(children.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?)
}
