//! Small disks that can be filled, broken and cut off from power: a tmpfs, or an ext4 in an image on one.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::own::{can, run};

const KB: usize = 1024;
/// EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH: from now on nothing reaches the disk, not even the journal.
const CUT_POWER: &str = "import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";

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
        let disk = Self { dir: tempfile::tempdir().unwrap() };
        ["images", "store"].iter().for_each(|name| fs::create_dir(disk.dir.path().join(name)).unwrap());
        let made = match kind {
            Kind::Tmpfs => tmpfs("4m", &disk.store()),
            Kind::Ext4 => disk.make_ext4(),
        };
        made.then_some(disk)
    }

    fn make_ext4(&self) -> bool {
        let made = tmpfs("8m", &self.images()) && {
            File::create(self.image()).unwrap().set_len(6 << 20).unwrap();
            // No blocks for root alone, or the disk of a server that is root would never be full. All that is not data
            // is written now, so that it has its room below.
            let now = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
            can("mkfs.ext4", &["-q", "-F", "-m", "0", "-E", now, path(&self.image())])
        };
        made && can("mount", &self.mounting())
    }

    /// How the image is mounted: so that nothing reaches it by the mere passing of time.
    fn mounting(&self) -> Vec<String> {
        ["-t", "ext4", "-o", "loop,commit=300", path(&self.image()), path(&self.store())].map(str::to_owned).into()
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

    fn image(&self) -> PathBuf {
        self.images().join("ext4")
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
        can("python3", &["-c", CUT_POWER, path(&self.store())])
    }

    /// Mounts the ext4 anew, as the next boot does: what had not reached the image is gone.
    pub fn mount_again(&self) {
        run("umount", &[path(&self.store())]);
        run("mount", &self.mounting());
    }

    /// A disk with what the image of this one holds right now.
    pub fn copy(&self) -> Self {
        let copy = Self { dir: tempfile::tempdir().unwrap() };
        ["images", "store"].iter().for_each(|name| fs::create_dir(copy.dir.path().join(name)).unwrap());
        assert!(tmpfs("8m", &copy.images()));
        fs::copy(self.image(), copy.image()).unwrap();
        run("mount", &copy.mounting());
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

pub fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
