//! Small disks that can be filled, broken and cut off from power: a tmpfs, or an ext4 in an image on one.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::own::{can, is_possible, run};
use crate::support::ext4::{self, Ext4};

pub use crate::support::ext4::path;

const KB: usize = 1024;

/// A mounted file system; unmounted when dropped, which is after the servers on it if it is made before them.
pub struct Disk {
    dir: TempDir,
}

/// What a disk is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Tmpfs,
    Ext4,
}

impl Disk {
    /// Of about 4 MB; `None` if this machine makes none, which has been said.
    pub fn new(kind: Kind) -> Option<Self> {
        let disk = Self::unmade();
        let made = match kind {
            Kind::Tmpfs => tmpfs("4m", &disk.store()),
            // No blocks for root alone, or the disk of a server that is root would never be full. All that is not data
            // is written now, so that it has its room below.
            Kind::Ext4 => {
                let options = ["-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"];
                tmpfs("8m", &disk.images()) && is_possible(disk.ext4().make(6 << 20, &options))
            }
        };
        made.then_some(disk)
    }

    fn unmade() -> Self {
        let disk = Self { dir: tempfile::tempdir().unwrap() };
        [disk.images(), disk.store()].iter().for_each(|dir| fs::create_dir(dir).unwrap());
        disk
    }

    /// Mounted so that nothing reaches the image by the mere passing of time.
    fn ext4(&self) -> Ext4 {
        Ext4 { image: self.images().join("ext4"), mounted_at: self.store(), options: "loop,commit=300" }
    }

    /// Where a server's files are.
    pub fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    pub fn bets(&self) -> PathBuf {
        self.store().join("bets.csv")
    }

    fn images(&self) -> PathBuf {
        self.dir.path().join("images")
    }

    /// Takes all room that is left.
    pub fn fill(&self) {
        hog(&self.store());
    }

    /// Gives it back.
    pub fn make_room(&self) {
        fs::remove_file(self.store().join("hog")).unwrap();
        File::open(self.store()).unwrap().sync_all().unwrap();
    }

    /// The ext4 has room, but what it is made of has none: it cannot write what it has taken.
    pub fn fill_below(&self) {
        hog(&self.images());
    }

    pub fn make_room_below(&self) {
        fs::remove_file(self.images().join("hog")).unwrap();
    }

    /// Cuts the power: false if this kernel cannot do that to an ext4, which has been said.
    pub fn cut_power(&self) -> bool {
        is_possible(self.ext4().cut_power())
    }

    /// Mounts the ext4 anew, as the next boot does: what had not reached the image is gone.
    pub fn mount_again(&self) {
        self.ext4().unmount().unwrap();
        self.ext4().mount().unwrap();
    }

    /// For this thread and what it starts.
    pub fn another_boot(&self) {
        ext4::another_boot(&self.dir.path().join("boot_id")).unwrap();
    }

    /// A disk with what the image of this one holds right now.
    pub fn copy(&self) -> Self {
        let copy = Self::unmade();
        assert!(tmpfs("8m", &copy.images()));
        fs::copy(self.ext4().image, copy.ext4().image).unwrap();
        copy.ext4().mount().unwrap();
        copy
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: where a test has failed, a process may be just dying.
        for mounted in [self.store(), self.images()] {
            let _ = Command::new("umount").args(["-l", path(&mounted)]).output();
        }
    }
}

fn tmpfs(size: &str, on: &Path) -> bool {
    can("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", path(on)])
}

/// Writes a file until nothing more fits, in ever smaller pieces; and again, until the file system has nothing left of
/// what it keeps in reserve and gives back late.
fn hog(dir: &Path) {
    let mut hog = OpenOptions::new().create(true).append(true).open(dir.join("hog")).unwrap();
    let mut grows = || {
        let before = hog.metadata().unwrap().len();
        for piece in [64 * KB, KB, 1] {
            assert!((0..100 * KB).any(|_| hog.write_all(&vec![0; piece]).is_err()), "the disk does not become full");
        }
        run("sync", &["-f", path(dir)]);
        hog.metadata().unwrap().len() > before
    };
    let mut quiet = 0;
    for _ in 0..100 {
        quiet = if grows() { 0 } else { quiet + 1 };
        if quiet == 3 {
            return;
        }
    }
    panic!("the disk does not stay full");
}
