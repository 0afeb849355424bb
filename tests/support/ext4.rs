//! An ext4 in a file whose power can be cut, and the boot after that. All of it is mounted in the caller's mount
//! namespace, which must be one of its own, so that nothing stays when that ends.
//!
//! The cut is what xfstests' `godown` does: the file system stops at once, and not even its log is written out. Mounting
//! it again replays the journal. No safe Rust calls that ioctl: a Python process does.

use std::ffi::OsStr;
use std::fmt::Debug;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`.
const CUT_POWER: &str = "import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";
/// Attempts at a mount: the loop device that it has found may just be taken by somebody else.
const MOUNTS: usize = 5;

/// What the machine refuses, and why.
pub type Outcome = Result<(), String>;

/// One file system.
pub struct Ext4 {
    pub image: PathBuf,
    pub mounted_at: PathBuf,
    /// Of its mount.
    pub options: &'static str,
}

impl Ext4 {
    /// Makes the image, of so many bytes, and mounts it.
    pub fn make(&self, size: u64, options: &[&str]) -> Outcome {
        File::create(&self.image).and_then(|image| image.set_len(size)).map_err(|e| e.to_string())?;
        run("mkfs.ext4", &[&["-q", "-F"], options, &[path(&self.image)]].concat())?;
        self.mount()
    }

    pub fn mount(&self) -> Outcome {
        let options = ["-t", "ext4", "-o", self.options, path(&self.image), path(&self.mounted_at)];
        let mount = || run("mount", &options);
        (1..MOUNTS).map(|_| mount()).find(Result::is_ok).unwrap_or_else(mount)
    }

    pub fn unmount(&self) -> Outcome {
        run("umount", &[&self.mounted_at])
    }

    /// From here on nothing gets onto the disk.
    pub fn cut_power(&self) -> Outcome {
        run("python3", &["-c", CUT_POWER, path(&self.mounted_at)])
    }
}

/// From here on the kernel seems to have been booted anew; `id` is a file to stand in for its boot id.
pub fn another_boot(id: &Path) -> Outcome {
    // That of the boot before, if this is not the first one. Trap: nothing can be mounted over a file that is deleted.
    let _ = run("umount", &[BOOT_ID]);
    fs::write(id, format!("{}\n", uuid())).map_err(|e| e.to_string())?;
    run("mount", &["--bind", path(id), BOOT_ID])
}

fn uuid() -> String {
    let part = |digits: usize| format!("{:0digits$x}", fastrand::u64(..1 << (4 * digits)));
    [8, 4, 4, 4, 12].map(part).join("-")
}

/// Runs a program of the system.
pub fn run(program: &str, arguments: &[impl AsRef<OsStr> + Debug]) -> Outcome {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|e| format!("{program}: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{program} {arguments:?}: {}", said.trim())) }
}

pub fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
